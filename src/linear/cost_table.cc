#include "linear/cost_table.h"

#include "base/timer.h"

namespace hunch {
namespace {

// In units of a row read from memory: what a machine with more arithmetic than bandwidth per token does. A row that a
// second token needs comes from a cache; the union's kernels lose some of the dense product's reuse of registers.
RowCosts estimate(size_t n_rows, size_t n_tokens) {
  const double row = 1, from_cache = 0.35, arithmetic = 0.15 * double(n_tokens);
  RowCosts c;
  c.own_row = from_cache;
  c.own_first = row - from_cache;
  c.union_row = 1.15 * (row + arithmetic);
  c.all = (row + arithmetic) * double(n_rows);
  return c;
}

}  // namespace

size_t batch_size_class(size_t n) {
  size_t power = 1;
  while (power < n) power *= 2;
  return power >= 4 && power / 4 * 3 >= n ? power / 4 * 3 : power;
}

CostTable::Key CostTable::key(RowProduct product, DType dtype, size_t rows, size_t cols, size_t n_tokens) {
  return {product, dtype, rows, cols, batch_size_class(n_tokens)};
}

RowCosts CostTable::of(RowProduct product, const WeightView& W, size_t n_tokens) const {
  if (fixed_) return fixed_costs_;
  const auto found = measured_.find(key(product, W.dtype, W.rows, W.cols, n_tokens));
  return found != measured_.end() ? found->second.costs : estimate(W.rows, n_tokens);
}

void CostTable::measure(Compute& compute, RowProduct product, std::span<const WeightView> like, size_t n_tokens) {
  if (fixed_ || like.empty()) return;
  const WeightView& W = like[0];
  const size_t n = batch_size_class(n_tokens);
  if (measured_.contains(key(product, W.dtype, W.rows, W.cols, n))) return;
  const Timer timer;
  const RowCosts costs = measure_row_costs(compute, product, like, n);
  pin({product, W.dtype, W.rows, W.cols, n, costs, timer.ms()});
}

void CostTable::pin(const Measured& m) { measured_[key(m.product, m.dtype, m.rows, m.cols, m.n_tokens)] = m; }

std::vector<CostTable::Measured> CostTable::measured() const {
  std::vector<Measured> out;
  for (const auto& [key, measured] : measured_) out.push_back(measured);
  return out;
}

}  // namespace hunch
