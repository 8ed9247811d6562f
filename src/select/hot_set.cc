#include "select/hot_set.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {

void HotSetPredictor::score(Compute&, MatView<const float> X, MatView<float> scores) const {
  HUNCH_CHECK(scores.cols == n_ff() && scores.rows == X.rows);
  for (size_t t = 0; t < X.rows; ++t) std::ranges::copy(scores_, scores.row(t).begin());
}

}  // namespace hunch
