#include "compress/matrix/gptq.h"

namespace hunch {

GridRule::GridRule(const Matrix& W, const InverseHessian& inverse, const GptqOptions& options)
    : options_(options),
      order_(inverse.order),
      group_(group_of(options.grid, W.cols)),
      fits_late_(options.grid.group != 0 && !options.static_groups),
      grids_(W.rows) {
  out = CodedMatrix(W.rows, W.cols, group_);
  if (fits_late_) {
    for (size_t i = 0; i < W.cols; ++i) out.group[order_[i]] = uint32_t(i / group_);
    return;
  }
  Matrix seen = W;
  if (options.grid.group != 0)  // as the reference has it, the grid of a whole row covers dead weights too
    for (uint32_t c : inverse.dead)
      for (size_t r = 0; r < W.rows; ++r) seen.row(r)[c] = 0;
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t c = 0; c < W.cols; c += group_)
      grids_[r].push_back(fit_grid(std::as_const(seen).row(r).subspan(c, group_), options.grid));
}

float GridRule::settle(const Place& p, float w) {
  std::vector<Grid>& grids = grids_[p.row];
  if (fits_late_ && p.column % group_ == 0)
    grids.assign(1, fit_grid(p.row_before.subspan(p.column, group_), options_.grid));
  const size_t column = order_[p.column];
  out.put(p.row, column, grids[fits_late_ ? 0 : column / group_], w);
  return out.values.row(p.row)[column];
}

CodedMatrix gptq(Compute& compute, const Matrix& W, const InverseHessian& inverse, const GptqOptions& options) {
  GridRule rule(W, inverse, options);
  Matrix open = in_sweep_order(W, inverse);
  sweep_columns(compute, inverse, options.n_together, rule, open);
  return std::move(rule.out);
}

}  // namespace hunch
