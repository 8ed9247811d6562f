#include "model/batch_costs.h"

#include "base/timer.h"

namespace hunch {

size_t batch_size_class(size_t n) {
  size_t power = 1;
  while (power < n) power *= 2;
  return power >= 4 && power / 4 * 3 >= n ? power / 4 * 3 : power;
}

// Matrices of the model that have W's shape and are used alike; W itself where there is none.
std::vector<WeightView> BatchCosts::like(RowProduct product, const WeightView& W) const {
  std::vector<WeightView> out;
  const auto take = [&](const WeightView& other) {
    if (other && other.dtype == W.dtype && other.rows == W.rows && other.cols == W.cols &&
        other.row_stride_bytes == W.row_stride_bytes)
      out.push_back(other);
  };
  const auto take_mlp = [&](const MlpWeights& m) {
    if (product == RowProduct::kAdd) return take(m.W_down_t);
    take(m.up.W);
    take(m.gate.W);
  };
  for (const LayerWeights& layer : weights_->layers) {
    take_mlp(layer.mlp);
    for (const MlpWeights& expert : layer.experts) take_mlp(expert);
    take_mlp(layer.shared_expert);
  }
  if (out.empty()) out.push_back(W);
  return out;
}

RowCosts BatchCosts::of(RowProduct product, const WeightView& W, size_t n_tokens, Compute& compute) const {
  if (!weights_) return fixed_;
  const size_t n = batch_size_class(n_tokens);
  const Key key{product, W.dtype, W.rows, W.cols, W.row_stride_bytes, n, compute.threads.n_threads()};
  const std::lock_guard lock(mutex_);
  if (const auto found = measured_.find(key); found != measured_.end()) return found->second.costs;
  const Timer timer;
  const RowCosts costs = measure_row_costs(compute, product, like(product, W), n);
  measured_[key] = {product, W.dtype, W.rows, W.cols, n, compute.threads.n_threads(), costs, timer.ms()};
  return costs;
}

std::vector<BatchCosts::Measured> BatchCosts::measured() const {
  const std::lock_guard lock(mutex_);
  std::vector<Measured> out;
  for (const auto& [key, measured] : measured_) out.push_back(measured);
  return out;
}

}  // namespace hunch
