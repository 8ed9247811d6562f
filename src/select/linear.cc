#include "select/linear.h"

#include "base/error.h"

namespace hunch {

LinearPredictor::LinearPredictor(WeightView W, std::vector<float> bias) : W_(W), bias_(std::move(bias)) {
  HUNCH_CHECK(bias_.size() == W_.rows, "[{}, {}] with {} biases", W_.rows, W_.cols, bias_.size());
}

void LinearPredictor::score(Compute& compute, MatView<const float> X, MatView<float> scores) const {
  HUNCH_CHECK(X.cols == n_in() && scores.cols == n_ff() && scores.rows == X.rows);
  const MatmulTask task{W_, bias_, scores};
  matmul(compute, X, {&task, 1});
}

}  // namespace hunch
