// Short convolutions over time, each channel by itself, that go on from token to token.
#pragma once
#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// Y[t, c] = f(bias[c] + sum over j < k of W[j, c] * X[t - (k - 1) + j, c]), where rows before the first are those of
// `past`, and f is SiLU or nothing. (Gu and Dao 2023, "Mamba", section 3.4.)
//
//   X [n_tokens, n]   W [k, n], the newest token's weights last   bias [n] or empty
//   past [k - 1, n]   the inputs before X, oldest first; afterwards those before what follows X
//   Y [n_tokens, n], written; may not overlap X
//
// A token's bits do not depend on how many are computed together.
void causal_conv(Compute& compute, MatView<const float> X, MatView<const float> W, std::span<const float> bias,
                 bool silu, MatView<float> past, MatView<float> Y);

namespace ref {
void causal_conv(MatView<const float> X, MatView<const float> W, std::span<const float> bias, bool silu,
                 MatView<float> past, MatView<float> Y);
}  // namespace ref
}  // namespace hunch
