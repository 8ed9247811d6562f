// Products of a few tokens in which every matrix takes tokens of its own.
#pragma once
#include <span>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "formats/weight_view.h"
#include "kernels/matmul.h"

namespace hunch {

// One product with the tokens [first_token, first_token + Y.rows) of X.
struct RaggedTask {
  WeightView W;                 // [n_out, n_in]
  std::span<const float> bias;  // [n_out], or empty
  MatView<float> Y;             // [n, n_out], written
  size_t first_token = 0;
};

// Y[t, r] = dot(W[r, :], X[first_token + t, :]) + bias[r]  for every task. Every token has the bits of matmul() with
// this token alone. Rows are read once for all tokens of a task; shared out among the threads as they come free, since
// tasks differ in tokens.
void matmul_ragged(Compute& compute, MatView<const float> X, std::span<const RaggedTask> tasks);

}  // namespace hunch
