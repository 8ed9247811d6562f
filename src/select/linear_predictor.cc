#include "select/linear_predictor.h"

#include "base/error.h"

namespace hunch {

LinearPredictor::LinearPredictor(WeightView W, std::vector<float> bias) : W_(W), bias_(std::move(bias)) {
  HUNCH_CHECK(bias_.size() == W_.rows, "[{}, {}] with {} biases", W_.rows, W_.cols, bias_.size());
}

void LinearPredictor::score(Compute& compute, MatView<const float> X, MatView<float> scores) const {
  HUNCH_CHECK(X.cols == n_in() && scores.cols == n_out() && scores.rows == X.rows);
  const MatmulTask task{W_, bias_, scores};
  matmul(compute, X, {&task, 1});
}

std::shared_ptr<const Predictor> LinearPredictor::part(size_t first, size_t n) const {
  const auto begin = bias_.begin() + ptrdiff_t(first);
  return std::make_shared<LinearPredictor>(W_.row_range(first, n), std::vector<float>(begin, begin + ptrdiff_t(n)));
}

void LinearPredictor::save(ArchiveWriter& archive) const {
  archive.matrix(".weight", W_);
  archive.floats(".bias", bias_);
}

std::shared_ptr<const Predictor> LinearPredictor::load(std::string_view kind, size_t n_in, size_t n_out,
                                                       const ArchiveReader& archive) {
  if (kind != "linear") return nullptr;
  const WeightView W = archive.matrix(".weight", n_out, n_in);
  return std::make_shared<LinearPredictor>(W, archive.floats(".bias", n_out));
}

}  // namespace hunch
