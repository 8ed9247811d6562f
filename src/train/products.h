// Products of f32 matrices by the repository's kernels, for training: the bits of a result do not depend on the number
// of threads. In mixed precision (Micikevicius et al. 2017, arXiv:1710.03740) products see both matrices rounded to
// bf16, whose exponents are f32's, so that losses need no scaling; sums are f32's, and so is all that is no product.
// Only where multiplies_bf16() (kernels/gemm_bf16.h).
#pragma once
#include "base/compute.h"
#include "base/precision.h"
#include "base/view.h"
#include "formats/weight_view.h"

namespace hunch {

// What is done with what is in Y.
enum class Into : uint8_t { kReplaces, kAdds };

// Scratch memory [rows, cols] until the end of the innermost Arena::Scope.
MatView<float> take_matrix(Compute& compute, size_t rows, size_t cols);

// Y = X W^T: X [n, n_in], W [n_out, n_in], Y [n, n_out].
void multiply_nt(Compute& compute, Precision precision, MatView<const float> X, MatView<const float> W,
                 MatView<float> Y);
// Y = A B, or added to: A [n, k], B [k, m], Y [n, m].
void multiply_nn(Compute& compute, Precision precision, MatView<const float> A, MatView<const float> B, Into into,
                 MatView<float> Y);
// The same in f32 with B in any form that computes.
void multiply_nn(Compute& compute, MatView<const float> A, const WeightView& B, Into into, MatView<float> Y);
// Y = A^T B, or added to: A [k, n], B [k, m], Y [n, m].
void multiply_tn(Compute& compute, Precision precision, MatView<const float> A, MatView<const float> B, Into into,
                 MatView<float> Y);

// Y += s * X.
void add_scaled(Compute& compute, float s, MatView<const float> X, MatView<float> Y);

}  // namespace hunch
