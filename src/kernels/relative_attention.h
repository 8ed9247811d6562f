// Attention whose scores have a part that depends on how far a key is behind (Dai et al. 2019, "Transformer-XL",
// arXiv:1901.02860, section 3.3), over a paged cache of keys and values.
#pragma once
#include "kernels/attention.h"

namespace hunch {

struct RelativeAttention {
  float scale = 1.0f;
  std::span<const float> content_bias, position_bias;  // u and v, [n_head * d_head]
  // W_r R of distances 0, 1, ..., [n, n_head * d_head]; farther keys have the last one's.
  MatView<const float> distances;
  // What a query at p sees: itself and the `memory` tokens before it; with `same_length` one fewer; with `segment` > 0,
  // and not same_length, the tokens before it in its segment of so many, and `memory` before that.
  size_t memory = 0, segment = 0;
  bool same_length = false;

  size_t first_seen(size_t p) const {
    const size_t end = same_length ? p + 1 : segment > 0 ? p / segment * segment : p;
    return end - std::min(end, memory);
  }
};

// out[t, head h] = softmax_j(scale * ((q + u).k_j + (q + v).r_(p - j))) V over the keys j that t, at p, sees.
//
//   Q, out  [n_tokens, n_head * d_head] as attention() has them; spans without lists, weights or stats, whose slots are
//           positions, not in groups
//
// A query's bits do not depend on what else is computed. Counts the keys and values that some query of a span sees, and
// the distances' rows once.
void relative_attention(Compute& compute, MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
                        const RelativeAttention& params, MatView<float> out);

namespace ref {  // double precision inside
void relative_attention(MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
                        const RelativeAttention& params, MatView<float> out);
}  // namespace ref
}  // namespace hunch
