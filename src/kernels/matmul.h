// Dense products with weights of any dtype: the "all" selection at full speed.
#pragma once
#include <span>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "formats/weight_view.h"

namespace hunch {

// One product among several that share the input X.
struct MatmulTask {
  WeightView W;                 // [n_out, n_in]
  std::span<const float> bias;  // [n_out], or empty
  MatView<float> Y;             // [n_tokens, n_out], written
};

// What the order of a token's sums may depend on. Many tokens are multiplied fastest in another order than
// one; speculation needs results that do not tell how many tokens were computed together.
enum class TokenBits : uint8_t {
  kFastest,  // on how many tokens the call has
  kAsAlone,  // not on the other tokens: every token gets the bits of a call with this token alone
};

// Y[t, r] = dot(W[r, :], X[t, :]) + bias[r]  for every task, token t and row r.
//
//   X      [n_tokens, n_in]  n_in == W.cols of every task; rows may be strided
//   tasks  products over the same X (Q, K and V; gate and up): X is quantised once and all rows are
//          shared out among the threads in one loop. The W may differ in dtype.
//
// Y may not overlap X. F32, F16 and BF16 weights, and blocks of floats (NF4, FP4, FP8, I8_64): products in f32 with f32
// accumulation, so that such a model gives the result of its exact weights; many tokens at compute.precision kBf16:
// both factors rounded to bf16. Quantised weights: X is rounded to int8 in blocks of 32 (scale = absmax / 127) and
// multiplied in integers, as in Q8_0; k-quants in blocks of 256 or 32 as suits the format. Summation order varies by
// target: do not expect equal bits. One token streams W once (decode); many tokens unpack panels of W into cache and
// reuse them (prefill).
void matmul(Compute& compute, MatView<const float> X, std::span<const MatmulTask> tasks,
            TokenBits bits = TokenBits::kFastest);

// Y[t, :] = sum_k A[t, k] * Wt[k, :] + bias: the product with a matrix stored neuron-major, i.e.
// transposed (W_down as [n_ff, n_embd]).
//
//   A   [n_tokens, n_ff]   Wt [n_ff, n_embd]   bias [n_embd] or empty   Y [n_tokens, n_embd], written
//
// All dtypes; weights are decoded to f32 and accumulated in f32.
void matmul_transposed(Compute& compute, MatView<const float> A, const WeightView& Wt, std::span<const float> bias,
                       MatView<float> Y, TokenBits bits = TokenBits::kFastest);

namespace ref {  // Same contracts in double precision on decoded weights. The tests believe these.
void matmul(MatView<const float> X, const MatmulTask& task);
void matmul_transposed(MatView<const float> A, const WeightView& Wt, std::span<const float> bias, MatView<float> Y);
}  // namespace ref
}  // namespace hunch
