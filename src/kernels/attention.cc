#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "base/checked_math.h"
#include "base/error.h"
#include "kernels/attention_block.h"

namespace hunch {
namespace {

constexpr size_t kItemsPerThread = 4;    // enough that unequal items even out
constexpr size_t kMinKeysPerPart = 256;  // fewer keys are not worth a merge

// How the work of one span divides: KV heads x blocks of rows x parts of the keys.
struct Division {
  size_t first_item = 0;   // items of all spans before
  size_t first_block = 0;  // blocks (over all KV heads) of all spans before
  size_t n_blocks = 0;     // per KV head
  size_t n_parts = 0;
};

struct Plan {
  MatView<const float> Q;
  MatView<float> out;
  const AttentionParams& params;
  std::span<const AttentionSpan> spans;
  std::span<Division> divisions;  // [n_spans]
  size_t group, block_rows, n_items = 0, n_blocks = 0;

  size_t n_rows(size_t span) const { return spans[span].n_tokens * group; }
};

void check(const MatView<const float>& Q, size_t n_head, std::span<const AttentionSpan> spans,
           const AttentionParams& params, const MatView<float>& out) {
  for (const AttentionSpan& span : spans) {
    const KvView& kv = span.kv;
    HUNCH_CHECK(kv.n_kv_head && n_head % kv.n_kv_head == 0, "{} heads share {} KV heads", n_head, kv.n_kv_head);
    HUNCH_CHECK(kv.d_head && Q.cols == n_head * kv.d_head && out.cols == Q.cols, "Q has {} columns", Q.cols);
    HUNCH_CHECK(kv.dtype == DType::kF32 || kv.dtype == DType::kF16, "KV dtype {}", name_of(kv.dtype));
    HUNCH_CHECK(span.first_token + span.n_tokens <= Q.rows && Q.rows <= out.rows, "span ends after the last query");
    HUNCH_CHECK(kv.page_tokens && span.first_pos + span.n_tokens <= kv.n_tokens &&
                    kv.n_tokens <= kv.pages.size() * kv.page_tokens,
                "queries end at {}, keys at {}", span.first_pos + span.n_tokens, kv.n_tokens);
    HUNCH_CHECK(span.kv_heads.empty() || span.kv_heads.back() < kv.n_kv_head, "head {} of {}", span.kv_heads.back(),
                kv.n_kv_head);
    HUNCH_CHECK(kv.d_head == spans[0].kv.d_head && kv.n_kv_head == spans[0].kv.n_kv_head, "spans differ in heads");
  }
  HUNCH_CHECK(params.alibi_slopes.empty() || params.alibi_slopes.size() == n_head, "ALiBi slopes");
}

// Splits keys only as far as the threads need it: an item is to be at most 1 / kItemsPerThread of a
// thread's share.
void divide(Plan& plan, size_t n_threads) {
  const auto cost_of = [&](size_t i) {
    const size_t n_blocks = (plan.n_rows(i) + plan.block_rows - 1) / plan.block_rows;
    return double(n_blocks * plan.spans[i].n_kv_heads()) * double(plan.spans[i].first_pos + plan.spans[i].n_tokens);
  };
  double all = 0;
  for (size_t i = 0; i < plan.spans.size(); ++i) all += cost_of(i);
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const AttentionSpan& span = plan.spans[i];
    Division& division = plan.divisions[i];
    division.n_blocks = (plan.n_rows(i) + plan.block_rows - 1) / plan.block_rows;
    const double cost = plan.params.spans_as_alone ? cost_of(i) : all;
    const double item_keys = std::max(cost / double(n_threads * kItemsPerThread), double(kMinKeysPerPart));
    const size_t last = span.first_pos + span.n_tokens;
    const size_t window = plan.params.window, n_keys = window ? std::min(last, window + span.n_tokens) : last;
    division.n_parts = n_threads == 1 ? 1 : std::max<size_t>(1, size_t(std::ceil(double(n_keys) / item_keys)));
    division.first_item = plan.n_items;
    division.first_block = plan.n_blocks;
    plan.n_blocks += division.n_blocks * span.n_kv_heads();
    plan.n_items += division.n_blocks * span.n_kv_heads() * division.n_parts;
  }
}

// The span that item (or block) `i` belongs to. Spans without tokens have none.
template <size_t Division::*First>
size_t span_of(const Plan& plan, size_t i) {
  const auto after = std::upper_bound(plan.divisions.begin(), plan.divisions.end(), i,
                                      [](size_t value, const Division& d) { return value < d.*First; });
  return size_t(after - plan.divisions.begin()) - 1;
}

// Block `b` of span `s`, KV head-major, with all its keys. Later tokens come first: they see more keys,
// and long items are best begun early.
AttentionBlock block_of(const Plan& plan, size_t s, size_t b) {
  const size_t n_blocks = plan.divisions[s].n_blocks;
  AttentionBlock block;
  block.span = &plan.spans[s];
  block.params = &plan.params;
  block.Q = plan.Q;
  block.group = plan.group;
  block.kv_head = block.span->all_heads ? b / n_blocks : block.span->kv_heads[b / n_blocks];
  block.first_row = (n_blocks - 1 - b % n_blocks) * plan.block_rows;
  block.n_rows = std::min(plan.block_rows, plan.n_rows(s) - block.first_row);
  block.key_begin = block.first_key(0);
  block.key_end = block.pos(block.n_rows - 1) + 1;
  return block;
}

// Writes the block's rows from its parts, which are part_at(0), part_at(1), ...: each part's sums are
// relative to its own max.
template <class PartAt>
void merge(const AttentionBlock& block, size_t n_parts, const PartAt& part_at, MatView<float> out) {
  const size_t d_head = block.span->kv.d_head;
  for (size_t r = 0; r < block.n_rows; ++r) {
    float max = part_at(0).max[r], sum = 0;
    for (size_t i = 1; i < n_parts; ++i) max = std::max(max, part_at(i).max[r]);
    float* y = out.row(block.row_in_q(r)).data() + block.head(r) * d_head;
    std::fill_n(y, d_head, 0.0f);
    for (size_t p = 0; p < n_parts; ++p) {
      const PartialAttention part = part_at(p);
      const float weight = std::exp(part.max[r] - max);
      sum += weight * part.sum[r];
      for (size_t i = 0; i < d_head; ++i) y[i] += weight * part.rows[r * d_head + i];
    }
    for (size_t i = 0; i < d_head; ++i) y[i] /= sum;
  }
}

}  // namespace

void attention(Compute& compute, MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out) {
  check(Q, n_head, spans, params, out);
  if (spans.empty()) return;
  for (const AttentionSpan& span : spans) {
    const size_t n_skipped = params.window && span.first_pos >= params.window ? span.first_pos + 1 - params.window : 0;
    compute.meter.read_kv(2 * (span.first_pos + span.n_tokens - n_skipped) * span.n_kv_heads() *
                          row_bytes(span.kv.dtype, span.kv.d_head));
  }
  const size_t d_head = spans[0].kv.d_head, n_threads = compute.threads.n_threads();

  const Arena::Scope scope(compute.arena);
  const auto whole_lines = [](size_t n) { return round_up(n, AlignedBuffer::kAlignBytes / sizeof(float)); };
  const size_t work_floats = whole_lines(attention_block_scratch(d_head));
  Plan plan{Q, out, params, spans, {}, n_head / spans[0].kv.n_kv_head, attention_block_rows()};
  plan.divisions = compute.arena.take<Division>(spans.size());
  divide(plan, n_threads);
  const bool has_parts = plan.n_items > plan.n_blocks;
  const size_t partial_floats = whole_lines(plan.block_rows * (d_head + 2));
  float* const work = compute.arena.take<float>(n_threads * work_floats).data();
  float* const partials = has_parts ? compute.arena.take<float>(plan.n_items * partial_floats).data() : nullptr;
  const auto partial_of = [&](size_t item) {
    float* const p = partials + item * partial_floats;
    return PartialAttention{p, p + plan.block_rows * d_head, p + plan.block_rows * (d_head + 1)};
  };

  compute.threads.parallel_for_dynamic(plan.n_items, 1, [&](size_t begin, size_t end, size_t thread) {
    for (size_t item = begin; item < end; ++item) {
      const size_t s = span_of<&Division::first_item>(plan, item);
      const size_t n_parts = plan.divisions[s].n_parts, local = item - plan.divisions[s].first_item;
      AttentionBlock block = block_of(plan, s, local / n_parts);
      const size_t part = local % n_parts, first = block.key_begin, n_keys = block.key_end - first;
      block.key_begin = first + n_keys * part / n_parts;
      block.key_end = first + n_keys * (part + 1) / n_parts;
      attend_block(block, out, n_parts > 1 ? partial_of(item) : PartialAttention{}, work + thread * work_floats);
    }
  });
  if (!has_parts) return;
  compute.threads.parallel_for(plan.n_blocks, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t b = begin; b < end; ++b) {
      const size_t s = span_of<&Division::first_block>(plan, b);
      const Division& division = plan.divisions[s];
      if (division.n_parts == 1) continue;
      const size_t local = b - division.first_block, first = division.first_item + local * division.n_parts;
      merge(
          block_of(plan, s, local), division.n_parts, [&](size_t p) { return partial_of(first + p); }, out);
    }
  });
}

}  // namespace hunch
