// The gated delta rule: a state per head that forgets what a key stood for before it learns something else.
#pragma once
#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// One head of gated DeltaNet (Yang, Kautz and Hatamizadeh 2024, "Gated Delta Networks", section 3; arXiv:2412.06464),
// token by token, with the state transposed:
//   S = decay[t] * S,   S += beta[t] * (v[t] - S k[t]) k[t]^T,   y[t] = S q[t].
struct DeltaRule {
  MatView<const float> q, k;           // [n_tokens, d_key], of the lengths that the caller wants
  MatView<const float> v;              // [n_tokens, d_value]
  std::span<const float> decay, beta;  // [n_tokens]
  MatView<float> state;                // [d_value, d_key], S before the first token; afterwards after the last
  MatView<float> y;                    // [n_tokens, d_value], written
};

// A token's bits do not depend on how many are computed together. One thread.
void delta_rule(const DeltaRule& head);

namespace ref {
void delta_rule(const DeltaRule& head);  // f64 inside a token
}  // namespace ref
}  // namespace hunch
