// One work item of attention: a few query rows against a range of the keys of one KV head.
// Internal to kernels/; attention.h is the interface.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/attention.h"

namespace hunch {

// The last position that the query at `pos` sees.
inline size_t last_key_seen(const AttentionParams& params, const AttentionSpan& span, size_t pos) {
  if (params.causal) return pos;
  const size_t last = span.first_pos + span.n_tokens - 1;
  return params.window ? std::min(last, pos + params.window - 1) : last;
}

// The query heads that share a KV head, of all tokens of a span, are numbered as rows:
// row = token * group + head - kv_head * group.
struct AttentionBlock {
  const AttentionSpan* span = nullptr;
  const AttentionParams* params = nullptr;
  MatView<const float> Q;
  size_t kv_head = 0, group = 1;
  size_t first_row = 0, n_rows = 0;
  // Keys [key_begin, key_end) of the head's list. What no row sees is left out by the caller where the list has the
  // order of positions, and otherwise when it is read.
  size_t key_begin = 0, key_end = 0;
  // Whether keys are taken one by one and decoded; otherwise key j is slot and position j, and is read where it lies.
  bool is_listed = false;
  const uint32_t* slots = nullptr;      // listed: the slot of each key; none: its number
  const uint32_t* positions = nullptr;  // listed: the position of each slot; none: its number

  size_t token(size_t r) const { return (first_row + r) / group; }
  size_t head(size_t r) const { return kv_head * group + (first_row + r) % group; }
  size_t pos(size_t r) const { return span->first_pos + token(r); }
  size_t row_in_q(size_t r) const { return span->first_token + token(r); }
  // The last position that row r sees, and the first.
  size_t last_key(size_t r) const { return last_key_seen(*params, *span, pos(r)); }
  size_t first_key(size_t r) const {
    const size_t window = params->window, end = pos(r) + 1;
    return window && end > window ? end - window : 0;
  }
};

// The sum of e^(s - max) over row r's keys, 0 where there were none, with what its sink adds where there are sinks.
inline float with_sink(const AttentionBlock& block, size_t r, float max, float sum) {
  return sum == 0 || block.params->sinks.empty() ? sum : sum + std::exp(block.params->sinks[block.head(r)] - max);
}

// Softmax over a part of the keys, not yet divided by its sum: what parts are merged from. Without `rows`, of all keys,
// written to the result; without max and sum, these are not wanted.
struct PartialAttention {
  float* rows = nullptr;  // [n_rows, d_head] sum_j e^(s_j - max) v_j
  float* max = nullptr;   // [n_rows]
  float* sum = nullptr;   // [n_rows] sum_j e^(s_j - max)
};

// For blocks of which a few values are read: of at least as many keys as the block has.
struct ValueMemory {
  float* weights = nullptr;                     // [n_rows, stride]
  uint32_t *slots = nullptr, *order = nullptr;  // [stride]
  size_t stride = 0;                            // keys and attention_block_rows() more
};

// Rows of a full block on this machine's SIMD target, and the floats of scratch that one needs.
size_t attention_block_rows();
size_t attention_block_scratch(size_t d_head);
// The same where AMX tiles attend, which want many rows: a block of more than attention_block_rows() goes to them, and
// must not be met without attention_tile_scratch() != 0.
constexpr size_t kAttentionTileRows = 128;
size_t attention_tile_scratch(size_t d_head);

// Attends with block.n_rows <= attention_block_rows() rows, in tiles kAttentionTileRows. With partial.rows the result
// goes there, otherwise, normalised, to `out`.
void attend_block(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch);

// weights[slot] += sum over the block's rows r of w = e^(s - max[r]) / sum[r], for keys [key_begin, key_end) of a
// listed block, where max and sum are those that attending to all keys gave (span.weights_are_largest: the largest of
// them and of what is there). Unless it is null, distances[pos(r) - position of the key] += w.
void add_key_weights(const AttentionBlock& block, const float* max, const float* sum, float* weights, float* distances,
                     float* scratch);

// Attends with the block's rows, of span.n_values of the keys [key_begin, key_end) of a listed block each. Fills
// `stats` where they are wanted; returns how many values were read.
size_t attend_values(const AttentionBlock& block, MatView<float> out, const PartialAttention& stats,
                     const ValueMemory& memory, float* scratch);

// All but the n largest become 0, the first among equals stay; NaN counts as the largest. `order` [weights.size()].
void keep_largest(std::span<float> weights, size_t n, uint32_t* order);

}  // namespace hunch
