#include "compress/matrix/column_sweep.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// Rows [begin, end) of one run of columns. Err [n_out, n].
void sweep_rows(const Matrix& U, size_t first, size_t n, ColumnRule& rule, Matrix& W, Matrix& Err, size_t begin,
                size_t end) {
  std::vector<float> now(n);
  for (size_t r = begin; r < end; ++r) {
    const std::span<float> row = W.row(r);
    std::copy_n(row.begin() + ptrdiff_t(first), n, now.begin());
    for (size_t i = 0; i < n; ++i) {
      const std::span<const float> u = U.row(first + i).subspan(first + i, n - i);
      const float w = now[i], q = rule.settle({r, first + i, first, now, row}, w);
      const float error = (w - q) / u[0];
      if (!std::isfinite(error)) fail(ErrorKind::kFormat, "a matrix holds values that are not finite");
      axpy(-error, u.subspan(1), std::span(now).subspan(i + 1));
      now[i] = q;
      Err.row(r)[i] = error;
    }
    std::ranges::copy(now, row.begin() + ptrdiff_t(first));
  }
}

}  // namespace

void sweep_columns(Compute& compute, const InverseHessian& inverse, size_t n_together, ColumnRule& rule, Matrix& W) {
  const Matrix& U = inverse.U;
  HUNCH_CHECK(W.cols == U.cols && n_together > 0, "W has {} columns, H {}", W.cols, U.cols);
  for (size_t first = 0; first < W.cols; first += n_together) {
    compute.throw_if_stopped();
    const size_t n = std::min(n_together, W.cols - first), rest = W.cols - first - n;
    rule.begin_columns(first, n, std::as_const(W).view());
    Matrix Err(W.rows, n);
    compute.threads.parallel_for(W.rows, 4,
                                 [&](size_t begin, size_t end) { sweep_rows(U, first, n, rule, W, Err, begin, end); });
    if (rest == 0) break;
    const MatView<const float> later = U.view().row_range(first, n).col_range(first + n, rest);
    const Matrix change = multiply_nn(compute, Err.view(), weight_view(later));
    for (size_t r = 0; r < W.rows; ++r) axpy(-1.0f, change.row(r), W.row(r).subspan(first + n));
  }
}

Matrix in_sweep_order(const Matrix& W, const InverseHessian& inverse) {
  HUNCH_CHECK(W.cols == inverse.order.size(), "W has {} columns, H {}", W.cols, inverse.order.size());
  Matrix out(W.rows, W.cols);
  for (size_t r = 0; r < W.rows; ++r) {
    for (size_t i = 0; i < W.cols; ++i) out.row(r)[i] = W.row(r)[inverse.order[i]];
  }
  for (size_t i = 0; i < W.cols; ++i)
    if (std::ranges::binary_search(inverse.dead, inverse.order[i]))
      for (size_t r = 0; r < W.rows; ++r) out.row(r)[i] = 0;
  return out;
}

Matrix in_own_order(const Matrix& W, const InverseHessian& inverse) {
  Matrix out(W.rows, W.cols);
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t i = 0; i < W.cols; ++i) out.row(r)[inverse.order[i]] = W.row(r)[i];
  return out;
}

}  // namespace hunch
