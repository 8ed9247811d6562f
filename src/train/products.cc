#include "train/products.h"

#include <algorithm>

#include "kernels/gemm_bf16.h"
#include "kernels/gemv.h"
#include "kernels/matmul.h"
#include "kernels/ops.h"
#include "train/gradients.h"

namespace hunch {
namespace {

// Rows that matmul_transposed() multiplies in an order that does not depend on the number of threads: more than few
// rows take in turn, and than threads add up in tiles.
size_t fewest_rows(DType dtype) { return std::max<size_t>(gemv_axpy_most_tokens(dtype) + 1, 32); }

void copy_or_add(Compute& compute, MatView<const float> from, Into into, MatView<float> to) {
  if (into == Into::kAdds) return add_scaled(compute, 1.0f, from, to);
  for (size_t r = 0; r < to.rows; ++r) std::ranges::copy(from.row(r), to.row(r).begin());
}

}  // namespace

MatView<float> take_matrix(Compute& compute, size_t rows, size_t cols) {
  return {compute.arena.take<float>(rows * cols).data(), rows, cols};
}

void multiply_nt(Compute& compute, Precision precision, MatView<const float> X, MatView<const float> W,
                 MatView<float> Y) {
  if (precision == Precision::kBf16) return multiply_bf16(compute, {.A = X, .B = W, .B_turned = true, .Y = Y});
  const MatmulTask task{weight_view(W), {}, Y};
  matmul(compute, X, {&task, 1});
}

void multiply_nn(Compute& compute, MatView<const float> A, const WeightView& B, Into into, MatView<float> Y) {
  const Arena::Scope scope(compute.arena);
  const size_t n = std::max(A.rows, fewest_rows(B.dtype));
  if (n > A.rows) {
    const MatView<float> more = take_matrix(compute, n, A.cols);
    for (size_t r = 0; r < n; ++r) {
      if (r < A.rows) std::ranges::copy(A.row(r), more.row(r).begin());
      if (r >= A.rows) std::ranges::fill(more.row(r), 0.0f);
    }
    A = more;
  } else if (into == Into::kReplaces) {
    return matmul_transposed(compute, A, B, {}, Y);
  }
  const MatView<float> product = take_matrix(compute, n, Y.cols);
  matmul_transposed(compute, A, B, {}, product);
  copy_or_add(compute, product.row_range(0, Y.rows), into, Y);
}

void multiply_nn(Compute& compute, Precision precision, MatView<const float> A, MatView<const float> B, Into into,
                 MatView<float> Y) {
  if (precision == Precision::kBf16)
    return multiply_bf16(compute, {.A = A, .B = B, .adds = into == Into::kAdds, .Y = Y});
  multiply_nn(compute, A, weight_view(B), into, Y);
}

void multiply_tn(Compute& compute, Precision precision, MatView<const float> A, MatView<const float> B, Into into,
                 MatView<float> Y) {
  if (precision == Precision::kBf16)
    return multiply_bf16(compute, {.A = A, .B = B, .A_turned = true, .adds = into == Into::kAdds, .Y = Y});
  const Arena::Scope scope(compute.arena);
  const MatView<float> turned = take_matrix(compute, A.cols, A.rows);
  transpose(compute, A, turned);
  multiply_nn(compute, turned, weight_view(B), into, Y);
}

void add_scaled(Compute& compute, float s, MatView<const float> X, MatView<float> Y) {
  compute.threads.parallel_for(Y.rows, 8, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) axpy(s, X.row(r), Y.row(r));
  });
}

}  // namespace hunch
