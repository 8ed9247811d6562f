// Settling a matrix' weights column by column, each error spread over the columns that are still open: what GPTQ and
// SparseGPT share.
#pragma once
#include "compress/matrix/hessian.h"

namespace hunch {

// What a weight becomes. Asked for different rows on different threads.
class ColumnRule {
 public:
  virtual ~ColumnRule() = default;
  // Before columns [first, first + n) are settled: W [n_out, n_in] as it is now, with all errors of earlier columns.
  virtual void begin_columns(size_t first, size_t n, MatView<const float> W) {}
  struct Place {
    size_t row, column;                 // in the order of the sweep
    size_t first;                       // column of the present run of columns
    std::span<const float> now;         // [n] of the run: settled before `column`, open from there on
    std::span<const float> row_before;  // [n_in] of the row, without the errors of this run of columns
  };
  // The value from here on of the weight at `place`, which would be `w`: the place's own value, or what another rule
  // makes of it.
  virtual float settle(const Place& place, float w) = 0;
};

// Replaces W [n_out, n_in], whose columns are in the order of `inverse`, by what `rule` makes of it. The errors (w - q)
// / U[j, j] go to the open columns of the same `n_together` at once, to those after them together (GPTQ, section 3.3,
// step 2). f32. Throws Error{kInterrupted}, and Error{kFormat} where a weight is not finite any more.
void sweep_columns(Compute& compute, const InverseHessian& inverse, size_t n_together, ColumnRule& rule, Matrix& W);

// W with its columns in the order of the sweep, those of dead inputs zero; and back.
Matrix in_sweep_order(const Matrix& W, const InverseHessian& inverse);
Matrix in_own_order(const Matrix& W, const InverseHessian& inverse);

}  // namespace hunch
