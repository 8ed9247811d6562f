// Attention with an online softmax over a paged KV cache (flash attention: Dao et al. 2022, alg. 1):
// memory linear in the context, nothing of size n_tokens x n_ctx exists.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "base/rows.h"
#include "formats/kv_type.h"
#include "formats/weight_view.h"

namespace hunch {

// Keys and values in groups of kKvGroup tokens (kernels/kv_groups.h), which is then what a page holds: in place of a
// head's rows of K a group of keys, and rows of V as its values are. From slot `first_tail` on, the start of a group,
// slots are in f16: keys as [n_kv_head][kKvGroup][d_head] at `tail`, and values the same, `tail_v_offset_bytes`
// further.
struct KvGroups {
  uint8_t bits = 0;  // 2 or 4; 0: there are none
  size_t first_tail = 0;
  const std::byte* tail = nullptr;
  size_t tail_v_offset_bytes = 0;
};

// One layer of one sequence's cached keys and values, in numbered slots, on pages of `page_tokens` slots: slot j is row
// j % page_tokens of page j / page_tokens. In a page, head-major: K as [n_kv_head][page_tokens][d_head], and V the
// same, `v_offset_bytes` in.
struct KvView {
  std::span<const std::byte* const> pages;
  size_t page_tokens = 0;
  size_t n_kv_head = 0, d_head = 0;
  DType dtype = DType::kF32;  // any that computes; d_head is a multiple of its blocks
  size_t v_offset_bytes = 0;
  size_t n_tokens = 0;  // seen so far: slots held, where slots are positions
  // The position of every slot of every KV head, in any order, each below 2^31; a head has as many slots as positions.
  // Empty: slot j of every head holds position j.
  std::span<const std::vector<uint32_t>> positions;
  // Rows of K and V were multiplied by hadamard() before they were stored. Queries and results are not.
  bool rotated = false;
  KvGroups groups = {};

  size_t n_slots(size_t kv_head) const { return positions.empty() ? n_tokens : positions[kv_head].size(); }
  size_t position(size_t kv_head, size_t slot) const { return positions.empty() ? slot : positions[kv_head][slot]; }
};

// Whether AMX tiles of bf16 may multiply where there are many queries, and how closely.
enum class AttentionTiles : uint8_t {
  kNever,
  kBothParts,   // each factor by two parts, but for the product of the lower ones: a score is off by up to 2^-16 of
                // sum |q k| scale, and typically by 4e-6 of itself
  kMixRounded,  // the softmax's weights and the values rounded to bf16: the result is off by 0.2 %, as quantised
                // weights' products round what they are given (kernels/gemm_tiles.h)
};

struct AttentionParams {
  float scale = 1.0f;                   // multiplies q.k
  float soft_cap = 0.0f;                // > 0: s = cap * tanh(s / cap) (Gemma-2)
  size_t window = 0;                    // > 0: a query sees only the last `window` positions, its own included
  std::span<const float> alibi_slopes;  // [n_head] or empty: adds slope * (key - query position), after the cap
  // [n_head] or empty: a score beside those of the keys, whose value is nothing: the weights of the keys sum to less
  // than 1 (gpt-oss; Xiao et al. 2023, "StreamingLLM", section 3.2). Where a query sees no key it changes nothing.
  std::span<const float> sinks;
  bool spans_as_alone = false;  // every span gets the bits of a call with this span alone
  // false: every query sees what its span's last query sees, the tokens after itself included (BERT); with a window
  // as many to either side. Without slopes, which count from a query backwards.
  bool causal = true;
  AttentionTiles tiles = AttentionTiles::kBothParts;
};

// One run of consecutive query tokens of one sequence; several sequences make one call.
struct AttentionSpan {
  KvView kv;               // already holds the keys and values of these queries
  size_t first_token = 0;  // row of Q and out where the run begins
  size_t n_tokens = 0;
  size_t first_pos = 0;  // position of the run's first query
  // KV heads to compute, strictly increasing, where not all: the columns of other heads in `out` are left alone, and
  // neither their queries nor their keys are read. An empty list that is not all: nothing is computed.
  std::span<const uint32_t> kv_heads;
  bool all_heads = true;
  // The slots that may be read, one list for each of the n_kv_head heads, or empty: all of all.
  std::span<const Rows> keys;
  // If it has data, [n_kv_head, at least the most slots of a head], added to: the weights that the softmax gave a slot,
  // summed over the span's queries and over the query heads of the group (Zhang et al. 2023, "H2O", section 4.1, from
  // which a cache learns what to drop). Rows of heads that are not computed are left alone. Reads the keys twice.
  MatView<float> key_weights;
  size_t n_weighing = SIZE_MAX;  // of the span's queries, its last ones: those whose weights are summed
  // With key_weights, of causal attention: the same weights by how many positions a key stands before its query, added
  // to as well; [n_kv_head, more than the span's last position].
  MatView<float> distance_weights;
  // key_weights are the largest weight that a query of a head of the group gave, instead of the sum.
  bool weights_are_largest = false;
  // Not 0: of so many keys only, those with a query head's largest weights (among equals the first), the values are
  // read and summed, weighed as among all (Wang et al. 2020, "SpAtten", section III.C). For a few queries: holds their
  // weights of all keys.
  size_t n_values = 0;
  // If it has data, [2, n_kv_heads() * n_tokens * group], written, KV head-major, then by token: of the softmax of
  // every query head the largest score, and the sum of e^(score - largest), sinks included. From two of them results
  // for different keys are put together. Where no key was seen, -infinity and 0.
  MatView<float> stats;

  size_t n_kv_heads() const { return all_heads ? kv.n_kv_head : kv_heads.size(); }
};

// out[t, head h] = softmax_j(scale * q.k_j ...) V over the slots j whose position is at most that of t (causal; else
// that of its span's last query), as far as window and list let it see them; 0 where it sees none.
//
//   Q    [n_tokens, n_head * d_head]; head h reads KV head h / (n_head / n_kv_head)
//   out  [n_tokens, n_head * d_head], written; may not overlap Q
//
// Of rotated or grouped caches all spans are, alike.
//
// f32 arithmetic, or in tiles. What no query of the span sees is not read. Work is shared out over (span, head, block
// of queries), and over parts of the keys when there are fewer of those than threads (decode of one long sequence).
void attention(Compute& compute, MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out);

// Keys that some query of the span sees, over the heads that are computed: what attention() reads.
size_t n_keys_seen(const AttentionSpan& span, size_t window);

namespace ref {  // plain softmax in double precision
void attention(MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out);
}  // namespace ref
}  // namespace hunch
