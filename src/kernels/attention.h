// Attention with an online softmax over a paged KV cache (flash attention: Dao et al. 2022, alg. 1):
// memory linear in the context, nothing of size n_tokens x n_ctx exists.
#pragma once
#include <span>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "formats/weight_view.h"

namespace hunch {

// One layer of one sequence's cached keys and values, as pages of `page_tokens` tokens.
// In a page, head-major: K as [n_kv_head][page_tokens][d_head], and V the same, `v_offset_bytes` in.
struct KvView {
  std::span<const std::byte* const> pages;
  size_t page_tokens = 0;
  size_t n_kv_head = 0, d_head = 0;
  DType dtype = DType::kF32;  // kF32 or kF16
  size_t v_offset_bytes = 0;
  size_t n_tokens = 0;  // tokens held; key j sits in page j / page_tokens at slot j % page_tokens
};

struct AttentionParams {
  float scale = 1.0f;                   // multiplies q.k
  float soft_cap = 0.0f;                // > 0: s = cap * tanh(s / cap) (Gemma-2)
  size_t window = 0;                    // > 0: a query sees only the last `window` keys, itself included
  std::span<const float> alibi_slopes;  // [n_head] or empty: adds slope * (key - query position), after the cap
  bool spans_as_alone = false;          // every span gets the bits of a call with this span alone
};

// One run of consecutive query tokens of one sequence; several sequences make one call.
struct AttentionSpan {
  KvView kv;               // already holds the keys and values of these queries
  size_t first_token = 0;  // row of Q and out where the run begins
  size_t n_tokens = 0;
  size_t first_pos = 0;  // index of the run's first query among the sequence's keys
  // KV heads to compute, strictly increasing, where not all: the columns of other heads in `out` are left alone, and
  // neither their queries nor their keys are read. An empty list that is not all: nothing is computed.
  std::span<const uint32_t> kv_heads;
  bool all_heads = true;

  size_t n_kv_heads() const { return all_heads ? kv.n_kv_head : kv_heads.size(); }
};

// out[t, head h] = softmax_j(scale * q.k_j ...) V over the keys j <= position of t (causal).
//
//   Q    [n_tokens, n_head * d_head]; head h reads KV head h / (n_head / n_kv_head)
//   out  [n_tokens, n_head * d_head], written; may not overlap Q
//
// f32 arithmetic. Work is shared out over (span, head, block of queries), and over parts of the keys
// when there are fewer of those than threads (decode of one long sequence).
void attention(Compute& compute, MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out);

namespace ref {  // plain softmax in double precision
void attention(MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out);
}  // namespace ref
}  // namespace hunch
