// The Hessian of a matrix' output error, factored so that columns can be settled one after the other.
#pragma once
#include <cstdint>
#include <vector>

#include "compress/linear_algebra.h"

namespace hunch {

struct HessianOptions {
  double damping = 0.01;   // of the mean diagonal, added to the diagonal
  bool act_order = false;  // columns with the largest inputs first (GPTQ's --act-order)
};

// H^-1 = U^T U for H = X^T X of a matrix' inputs. Row i of U says how the columns after i, in the order of the sweep,
// make up for an error in column i.
struct InverseHessian {
  Matrix U;                     // [n_in, n_in], upper triangular, in the order of the sweep
  std::vector<uint32_t> order;  // [n_in] the column of W at each place of the sweep
  std::vector<uint32_t> dead;   // columns whose input is always 0: nothing can be said of them
  double damping = 0;           // what it took: as asked, or a power of ten times that for a singular H
};

// H [n_in, n_in], symmetric, up to a factor: only relations between its entries count. Columns whose diagonal is zero
// are dead: their diagonal counts as 1, before the order and the damping, as in the reference code (Frantar et al.
// 2022, "GPTQ", arXiv:2210.17323, section 3 and gptq.py). A singular matrix gets ten times the damping until the factor
// exists. In double precision, on the threads of `compute` or, without, on one. Throws Error{kFormat} where a value of
// H is not finite, Error{kInterrupted}.
InverseHessian invert_hessian(const Matrix& H, const HessianOptions& options, Compute* compute = nullptr);

}  // namespace hunch
