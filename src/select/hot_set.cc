#include "select/hot_set.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {

void HotSetPredictor::score(Compute&, MatView<const float> X, MatView<float> scores) const {
  HUNCH_CHECK(scores.cols == n_out() && scores.rows == X.rows);
  for (size_t t = 0; t < X.rows; ++t) std::ranges::copy(scores_, scores.row(t).begin());
}

std::shared_ptr<const Predictor> HotSetPredictor::part(size_t first, size_t n) const {
  const auto begin = scores_.begin() + ptrdiff_t(first);
  return std::make_shared<HotSetPredictor>(std::vector<float>(begin, begin + ptrdiff_t(n)), n_in_);
}

void HotSetPredictor::save(ArchiveWriter& archive) const { archive.floats(".bias", scores_); }

std::shared_ptr<const Predictor> HotSetPredictor::load(std::string_view kind, size_t n_in, size_t n_out,
                                                       const ArchiveReader& archive) {
  if (kind != "hot") return nullptr;
  return std::make_shared<HotSetPredictor>(archive.floats(".bias", n_out), n_in);
}

}  // namespace hunch
