#include "compress/matrix/sparsegpt.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace hunch {

PruneRule::PruneRule(const InverseHessian& inverse, const Sparsity& sparsity, size_t n_out, ColumnRule* inner)
    : inverse_(inverse), sparsity_(sparsity), n_in_(inverse.U.cols), mask_(n_out * n_in_), inner_(inner) {
  if (sparsity.m == 0) return;
  check_pattern(sparsity.pruned, sparsity.m, n_in_);
  HUNCH_CHECK(std::ranges::is_sorted(inverse.order), "a pattern of neighbours, in another order than theirs");
}

PruneRule::PruneRule(const InverseHessian& inverse, Mask mask, size_t n_out, ColumnRule* inner)
    : inverse_(inverse), n_in_(inverse.U.cols), is_known_(true), mask_(n_out * n_in_), inner_(inner) {
  HUNCH_CHECK(mask.size() == mask_.size());
  for (size_t r = 0; r < n_out; ++r)
    for (size_t i = 0; i < n_in_; ++i) at(r, i) = mask[r * n_in_ + inverse.order[i]];
}

float PruneRule::score(float w, size_t column) const {
  const float d = inverse_.U.row(column)[column];
  return w * w / (d * d);
}

void PruneRule::begin_columns(size_t first, size_t n, MatView<const float> W) {
  if (inner_) inner_->begin_columns(first, n, W);
  if (is_known_) return;
  if (sparsity_.m) {
    HUNCH_CHECK(first % sparsity_.m == 0 && n % sparsity_.m == 0, "runs of {} columns, a pattern of {}", n,
                sparsity_.m);
    return;
  }
  Matrix scores(W.rows, n);
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t i = 0; i < n; ++i) scores.row(r)[i] = score(W.row(r)[first + i], first + i);
  const Mask chosen = prune_matrix(scores, sparsity_.share);
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t i = 0; i < n; ++i) at(r, first + i) = chosen[r * n + i];
}

float PruneRule::settle(const Place& p, float w) {
  if (!is_known_ && sparsity_.m && p.column % sparsity_.m == 0) {
    Matrix scores(1, sparsity_.m);
    for (size_t i = 0; i < sparsity_.m; ++i) scores.values[i] = score(p.now[p.column - p.first + i], p.column + i);
    std::ranges::copy(prune_pattern(scores, sparsity_.pruned, sparsity_.m), &at(p.row, p.column));
  }
  if (at(p.row, p.column)) w = 0;
  return inner_ ? inner_->settle(p, w) : w;
}

Matrix sparsegpt(Compute& compute, const Matrix& W, const InverseHessian& inverse, const Sparsity& sparsity,
                 size_t n_together, ColumnRule* quantiser) {
  PruneRule rule(inverse, sparsity, W.rows, quantiser);
  Matrix open = in_sweep_order(W, inverse);
  sweep_columns(compute, inverse, n_together, rule, open);
  return in_own_order(open, inverse);
}

}  // namespace hunch
