// The two gathered kernels: every sparse technique of hunch ends in one of them.
#pragma once
#include <span>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "formats/weight_view.h"

namespace hunch {

// y[k] = dot(W[rows[k], :], x)  for every k in [0, n_rows).
//
//   W     [n, n_in]   any dtype; rows may be strided (neuron-major records)
//   rows  [n_rows]    ids, each < n
//   x     [n_in]
//   y     [n_rows]    written; may not overlap x
//
// The next row's lines are prefetched while the current one is multiplied. Numerics as matmul's.
// Idea: Liu et al. 2023, "Deja Vu" (arXiv:2310.17157), section 4.3.
void gather_dot(Compute& compute, const WeightView& W, std::span<const uint32_t> rows, std::span<const float> x,
                std::span<float> y);

// y += sum_k a[k] * W[rows[k], :].
//
//   W [n, n_out]   rows [n_rows] as above   a [n_rows]   y [n_out], added to; may not overlap a
//
// Rows are shared out among the threads; each adds into its own f32 accumulator, and
// the accumulators are summed in thread order: deterministic for a given number of threads.
void gather_axpy(Compute& compute, const WeightView& W, std::span<const uint32_t> rows, std::span<const float> a,
                 std::span<float> y);

// The same two for several tokens that share a list of rows; each row is read once for all of them.
//
//   Y[t, k] = dot(W[rows[k], :], X[t, :])        X [n_tokens, n_in]    Y [n_tokens, n_rows], written
//   Y[t, :] += sum_k A[t, k] * W[rows[k], :]     A [n_tokens, n_rows]  Y [n_tokens, n_out], added to
//
// The matrices of f32 may be strided. Where A is zero for a few neighbouring rows and tokens the sum is not formed, so
// that an infinite weight there adds nothing.
void gather_dot(Compute& compute, const WeightView& W, std::span<const uint32_t> rows, MatView<const float> X,
                MatView<float> Y);
void gather_axpy(Compute& compute, const WeightView& W, std::span<const uint32_t> rows, MatView<const float> A,
                 MatView<float> Y);

namespace ref {
void gather_dot(const WeightView& W, std::span<const uint32_t> rows, std::span<const float> x, std::span<float> y);
void gather_axpy(const WeightView& W, std::span<const uint32_t> rows, std::span<const float> a, std::span<float> y);
void gather_dot(const WeightView& W, std::span<const uint32_t> rows, MatView<const float> X, MatView<float> Y);
void gather_axpy(const WeightView& W, std::span<const uint32_t> rows, MatView<const float> A, MatView<float> Y);
}  // namespace ref
}  // namespace hunch
