// One work item of attention: a few query rows against a range of the keys of one KV head.
// Internal to kernels/; attention.h is the interface.
#pragma once
#include <cstddef>

#include "kernels/attention.h"

namespace hunch {

// The query heads that share a KV head, of all tokens of a span, are numbered as rows:
// row = token * group + head - kv_head * group.
struct AttentionBlock {
  const AttentionSpan* span = nullptr;
  const AttentionParams* params = nullptr;
  MatView<const float> Q;
  size_t kv_head = 0, group = 1;
  size_t first_row = 0, n_rows = 0;
  size_t key_begin = 0, key_end = 0;  // keys that no row sees are left out by the caller

  size_t token(size_t r) const { return (first_row + r) / group; }
  size_t head(size_t r) const { return kv_head * group + (first_row + r) % group; }
  size_t pos(size_t r) const { return span->first_pos + token(r); }
  size_t row_in_q(size_t r) const { return span->first_token + token(r); }
  // The first key that row r sees.
  size_t first_key(size_t r) const {
    const size_t window = params->window, end = pos(r) + 1;
    return window && end > window ? end - window : 0;
  }
};

// Softmax over a part of the keys, not yet divided by its sum: what parts are merged from.
struct PartialAttention {
  float* rows = nullptr;  // [n_rows, d_head] sum_j e^(s_j - max) v_j
  float* max = nullptr;   // [n_rows]
  float* sum = nullptr;   // [n_rows] sum_j e^(s_j - max)
};

// Rows of a full block on this machine's SIMD target, and the floats of scratch that one needs.
size_t attention_block_rows();
size_t attention_block_scratch(size_t d_head);

// Attends with block.n_rows <= attention_block_rows() rows. With partial.rows the result goes there,
// otherwise, normalised, to `out`.
void attend_block(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch);

}  // namespace hunch
