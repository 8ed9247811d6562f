// The recurrence of Mamba-2: a state per head that decays by what the token says.
#pragma once
#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// One head's part of Mamba-2 (Dao and Gu 2024, "Transformers are SSMs", section 3; arXiv:2405.21060), token by token:
//   S = decay[t] * S + dt[t] * x[t] B[t]^T,   y[t] = S C[t] + D * x[t].
struct SelectiveScan {
  MatView<const float> x;            // [n_tokens, d]
  MatView<const float> B, C;         // [n_tokens, n_state]
  std::span<const float> decay, dt;  // [n_tokens]: exp(A * dt) and dt
  float D = 0;
  MatView<float> state;  // [d, n_state], S before the first token; afterwards after the last
  MatView<float> y;      // [n_tokens, d], written
};

// A token's bits do not depend on how many are computed together. One thread.
void selective_scan(const SelectiveScan& head);

namespace ref {
void selective_scan(const SelectiveScan& head);  // f64 inside a token
}  // namespace ref
}  // namespace hunch
