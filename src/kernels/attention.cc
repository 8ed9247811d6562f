#include "kernels/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/checked_math.h"
#include "base/error.h"
#include "kernels/attention_block.h"
#include "kernels/hadamard.h"
#include "kernels/kv_groups.h"

namespace hunch {
namespace {

constexpr size_t kItemsPerThread = 4;    // enough that unequal items even out
constexpr size_t kMinKeysPerPart = 256;  // fewer keys are not worth a merge
constexpr size_t kTileRowsFrom = 64;     // fewer rows of queries are not worth making bf16 of the keys

// How the work of one span divides: KV heads x blocks of rows x parts of the keys.
struct Division {
  size_t first_stat = 0;   // rows of all KV heads of the spans before that want key weights
  size_t first_item = 0;   // items of all spans before
  size_t first_block = 0;  // blocks (over all KV heads) of all spans before
  size_t block_rows = 0;   // of a full block
  size_t n_blocks = 0;     // per KV head
  size_t n_parts = 0;
  size_t most_keys = 0;  // of a head
};

struct Plan {
  MatView<const float> Q;
  MatView<float> out;
  const AttentionParams& params;
  std::span<const AttentionSpan> spans;
  std::span<Division> divisions;        // [n_spans]
  size_t group, block_rows, most_rows;  // of most blocks, and of the largest
  size_t n_items = 0, n_blocks = 0, n_stats = 0;
  float *max = nullptr, *sum = nullptr;  // [n_stats] of the softmax of each row, for the key weights

  size_t n_rows(size_t span) const { return spans[span].n_tokens * group; }
};

bool has_list(const AttentionSpan& span, size_t kv_head) { return !span.keys.empty() && !span.keys[kv_head].is_all(); }

// Keys to consider, before anything is known of positions.
size_t n_listed(const AttentionSpan& span, size_t kv_head) {
  return has_list(span, kv_head) ? span.keys[kv_head].size() : span.kv.n_slots(kv_head);
}

// Whether the head's keys are other than all those up to the query, or of a format that is not read where it lies.
bool is_listed(const AttentionSpan& span, size_t kv_head) {
  return has_list(span, kv_head) || !span.kv.positions.empty() ||
         !(span.kv.dtype == DType::kF32 || span.kv.dtype == DType::kF16) || span.kv.groups.bits;
}

// Whether all heads have the same slots, and may read the same.
bool is_uniform(const AttentionSpan& span) { return span.keys.empty() && span.kv.positions.empty(); }

template <class With>
void for_each_head(const AttentionSpan& span, const With& with) {
  for (size_t i = 0; i < span.n_kv_heads(); ++i) with(span.all_heads ? i : size_t(span.kv_heads[i]));
}

// Slots of the head that some query of the span sees.
size_t n_seen(const AttentionSpan& span, size_t kv_head, size_t window) {
  if (span.n_tokens == 0) return 0;
  const size_t end = span.first_pos + span.n_tokens;
  const size_t first = window && span.first_pos >= window ? span.first_pos + 1 - window : 0;
  const auto seen = [&](size_t position) { return position >= first && position < end; };
  const KvView& kv = span.kv;
  if (has_list(span, kv_head))
    return size_t(std::ranges::count_if(span.keys[kv_head].ids(),
                                        [&](uint32_t slot) { return seen(kv.position(kv_head, slot)); }));
  if (kv.positions.empty()) return end - first;
  return size_t(std::ranges::count_if(kv.positions[kv_head], seen));
}

void check(const MatView<const float>& Q, size_t n_head, std::span<const AttentionSpan> spans,
           const AttentionParams& params, const MatView<float>& out) {
  for (const AttentionSpan& span : spans) {
    const KvView& kv = span.kv;
    HUNCH_CHECK(kv.n_kv_head && n_head % kv.n_kv_head == 0, "{} heads share {} KV heads", n_head, kv.n_kv_head);
    HUNCH_CHECK(kv.d_head && Q.cols == n_head * kv.d_head && out.cols == Q.cols, "Q has {} columns", Q.cols);
    const Format& format = info(kv.dtype);
    HUNCH_CHECK(format.computes() && kv.d_head % format.block_elems == 0, "heads of {} values as {}", kv.d_head,
                format.name);
    HUNCH_CHECK(span.first_token + span.n_tokens <= Q.rows && Q.rows <= out.rows, "span ends after the last query");
    HUNCH_CHECK(kv.page_tokens, "pages of nothing");
    HUNCH_CHECK(!kv.groups.bits || (kv.page_tokens == kKvGroup && kv.d_head % kKvGroup == 0),
                "groups on pages of {} tokens", kv.page_tokens);
    HUNCH_CHECK(kv.rotated == spans[0].kv.rotated, "spans of which some are rotated");
    HUNCH_CHECK(!kv.positions.empty() || span.first_pos + span.n_tokens <= kv.n_tokens, "queries end at {}, keys at {}",
                span.first_pos + span.n_tokens, kv.n_tokens);
    HUNCH_CHECK(kv.positions.empty() || kv.positions.size() == kv.n_kv_head, "positions of {} heads",
                kv.positions.size());
    HUNCH_CHECK(span.keys.empty() || span.keys.size() == kv.n_kv_head, "keys of {} heads", span.keys.size());
    HUNCH_CHECK(!span.key_weights.data || span.key_weights.rows == kv.n_kv_head, "key weights of {} heads",
                span.key_weights.rows);
    HUNCH_CHECK(!span.distance_weights.data ||
                    (span.key_weights.data && params.causal && span.distance_weights.rows == kv.n_kv_head &&
                     span.distance_weights.cols >= span.first_pos + span.n_tokens),
                "weights by distance [{}, {}]", span.distance_weights.rows, span.distance_weights.cols);
    HUNCH_CHECK(!span.stats.data || (span.stats.rows == 2 &&
                                     span.stats.cols == span.n_kv_heads() * span.n_tokens * (n_head / kv.n_kv_head)),
                "stats [{}, {}] of {} queries", span.stats.rows, span.stats.cols, span.n_tokens);
    for (size_t head = 0; head < (is_uniform(span) ? 1 : kv.n_kv_head); ++head) {
      const size_t n_slots = kv.n_slots(head);
      HUNCH_CHECK(
          n_slots <= kv.pages.size() * kv.page_tokens && (!span.key_weights.data || n_slots <= span.key_weights.cols),
          "head {} has {} slots", head, n_slots);
      HUNCH_CHECK(!has_list(span, head) || span.keys[head].ids().empty() || span.keys[head].ids().back() < n_slots,
                  "key {} of {} slots", span.keys[head].ids().back(), n_slots);
    }
    HUNCH_CHECK(span.kv_heads.empty() || span.kv_heads.back() < kv.n_kv_head, "head {} of {}", span.kv_heads.back(),
                kv.n_kv_head);
    HUNCH_CHECK(kv.d_head == spans[0].kv.d_head && kv.n_kv_head == spans[0].kv.n_kv_head, "spans differ in heads");
  }
  HUNCH_CHECK(params.alibi_slopes.empty() || params.alibi_slopes.size() == n_head, "ALiBi slopes");
  HUNCH_CHECK(params.causal || params.alibi_slopes.empty(), "slopes of attention that is not causal");
  HUNCH_CHECK(params.sinks.empty() || params.sinks.size() == n_head, "{} sinks", params.sinks.size());
}

// Keys that the longest list of a head of the span may have for a query.
size_t most_keys(const AttentionSpan& span) {
  if (is_uniform(span)) return is_listed(span, 0) ? span.kv.n_tokens : span.first_pos + span.n_tokens;
  size_t most = 0;
  for_each_head(span, [&](size_t head) {
    most = std::max(most, is_listed(span, head) ? n_listed(span, head) : span.first_pos + span.n_tokens);
  });
  return most;
}

// In tiles a block has more rows, which share what is made of their keys.
size_t rows_of_blocks(const Plan& plan, size_t span, bool tiles) {
  const AttentionSpan& s = plan.spans[span];
  const bool suits =
      tiles && plan.n_rows(span) >= kTileRowsFrom && !s.key_weights.data && !s.stats.data && s.n_values == 0;
  return suits ? kAttentionTileRows : plan.block_rows;
}

// Splits keys only as far as the threads need it: an item is to be at most 1 / kItemsPerThread of a
// thread's share.
void divide(Plan& plan, size_t n_threads, bool tiles) {
  const auto cost_of = [&](size_t i) {
    const Division& d = plan.divisions[i];
    return double(d.n_blocks * plan.spans[i].n_kv_heads()) * double(d.most_keys);
  };
  double all = 0;
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    Division& division = plan.divisions[i];
    division.most_keys = most_keys(plan.spans[i]);
    division.block_rows = rows_of_blocks(plan, i, tiles);
    division.n_blocks = (plan.n_rows(i) + division.block_rows - 1) / division.block_rows;
    plan.most_rows = std::max(plan.most_rows, division.block_rows);
    all += cost_of(i);
  }
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const AttentionSpan& span = plan.spans[i];
    Division& division = plan.divisions[i];
    const double cost = plan.params.spans_as_alone ? cost_of(i) : all;
    const double item_keys = std::max(cost / double(n_threads * kItemsPerThread), double(kMinKeysPerPart));
    const size_t window = plan.params.window, last = division.most_keys;
    const size_t n_keys = window ? std::min(last, window + span.n_tokens) : last;
    division.n_parts =
        n_threads == 1 || span.n_values ? 1 : std::max<size_t>(1, size_t(std::ceil(double(n_keys) / item_keys)));
    division.first_item = plan.n_items;
    division.first_block = plan.n_blocks;
    division.first_stat = plan.n_stats;
    plan.n_blocks += division.n_blocks * span.n_kv_heads();
    plan.n_items += division.n_blocks * span.n_kv_heads() * division.n_parts;
    if (span.key_weights.data) plan.n_stats += plan.n_rows(i) * span.n_kv_heads();
  }
}

// The span that item (or block) `i` belongs to. Spans without tokens have none.
template <size_t Division::*First>
size_t span_of(const Plan& plan, size_t i) {
  const auto after = std::upper_bound(plan.divisions.begin(), plan.divisions.end(), i,
                                      [](size_t value, const Division& d) { return value < d.*First; });
  return size_t(after - plan.divisions.begin()) - 1;
}

// The keys of a block that does not read them where they lie.
void set_list(AttentionBlock& block) {
  const AttentionSpan& span = *block.span;
  const std::span<const uint32_t> ids =
      has_list(span, block.kv_head) ? span.keys[block.kv_head].ids() : std::span<const uint32_t>();
  if (has_list(span, block.kv_head)) block.slots = ids.data();
  if (!span.kv.positions.empty()) {  // in any order
    block.positions = span.kv.positions[block.kv_head].data();
    block.key_begin = 0;
    block.key_end = n_listed(span, block.kv_head);
  } else if (has_list(span, block.kv_head)) {
    block.key_end = size_t(std::ranges::lower_bound(ids, block.key_end) - ids.begin());
    block.key_begin = size_t(std::ranges::lower_bound(ids, block.key_begin) - ids.begin());
  }
}

// Block `b` of span `s`, KV head-major, with all its keys. Later tokens come first: they see more keys,
// and long items are best begun early.
AttentionBlock block_of(const Plan& plan, size_t s, size_t b) {
  const size_t n_blocks = plan.divisions[s].n_blocks, block_rows = plan.divisions[s].block_rows;
  AttentionBlock block;
  block.span = &plan.spans[s];
  block.params = &plan.params;
  block.Q = plan.Q;
  block.group = plan.group;
  block.kv_head = block.span->all_heads ? b / n_blocks : block.span->kv_heads[b / n_blocks];
  block.first_row = (n_blocks - 1 - b % n_blocks) * block_rows;
  block.n_rows = std::min(block_rows, plan.n_rows(s) - block.first_row);
  block.key_begin = block.first_key(0);
  block.key_end = block.last_key(block.n_rows - 1) + 1;
  block.is_listed = is_listed(*block.span, block.kv_head);
  if (block.is_listed) set_list(block);
  return block;
}

// Where the softmax's max and sum of the block's rows are kept, of a span that wants them, or key weights.
PartialAttention stats_of(const Plan& plan, size_t s, size_t b, const AttentionBlock& block) {
  const Division& division = plan.divisions[s];
  const size_t at = b / division.n_blocks * plan.n_rows(s) + block.first_row;
  if (const MatView<float>& own = plan.spans[s].stats; own.data)
    return {nullptr, own.row(0).data() + at, own.row(1).data() + at};
  if (!plan.spans[s].key_weights.data) return {};
  return {nullptr, plan.max + division.first_stat + at, plan.sum + division.first_stat + at};
}

// As block_of(), with keys that are taken one by one, whatever the cache.
AttentionBlock listed_block_of(const Plan& plan, size_t s, size_t b) {
  AttentionBlock block = block_of(plan, s, b);
  if (!block.is_listed) block.is_listed = true, set_list(block);
  return block;
}

// Writes the block's rows from its parts, which are part_at(0), part_at(1), ...: each part's sums are
// relative to its own max. Fills the stats that are wanted.
template <class PartAt>
void merge(const AttentionBlock& block, size_t n_parts, const PartAt& part_at, const PartialAttention& stats,
           MatView<float> out) {
  const size_t d_head = block.span->kv.d_head;
  for (size_t r = 0; r < block.n_rows; ++r) {
    float max = part_at(0).max[r], sum = 0;
    for (size_t i = 1; i < n_parts; ++i) max = std::max(max, part_at(i).max[r]);
    float* y = out.row(block.row_in_q(r)).data() + block.head(r) * d_head;
    std::fill_n(y, d_head, 0.0f);
    for (size_t p = 0; p < n_parts; ++p) {
      const PartialAttention part = part_at(p);
      if (part.sum[r] == 0) continue;  // the row sees no key of this part
      const float weight = std::exp(part.max[r] - max);
      sum += weight * part.sum[r];
      for (size_t i = 0; i < d_head; ++i) y[i] += weight * part.rows[r * d_head + i];
    }
    sum = with_sink(block, r, max, sum);
    for (size_t i = 0; sum != 0 && i < d_head; ++i) y[i] /= sum;
    if (stats.max) {
      stats.max[r] = max;
      stats.sum[r] = sum;
    }
  }
}

// Adds up the weights of the keys of span `s`: a part of the keys of a head at a time, from all its blocks of rows in
// order, so that no two threads add to the same slot.
void sum_key_weights(Compute& compute, const Plan& plan, size_t s, float* work, size_t work_floats) {
  const AttentionSpan& span = plan.spans[s];
  const size_t n_threads = compute.threads.n_threads(), n_blocks = plan.divisions[s].n_blocks;
  const size_t wanted = n_threads == 1 ? 1 : n_threads * kItemsPerThread;
  const size_t first_weighing = (span.n_tokens - std::min(span.n_tokens, span.n_weighing)) * plan.group;
  // Parts of the keys have their own slots to add to, but not their own distances.
  const size_t n_parts =
      span.distance_weights.data ? 1 : std::clamp<size_t>(plan.divisions[s].most_keys / kMinKeysPerPart, 1, wanted);
  compute.threads.parallel_for_dynamic(span.n_kv_heads() * n_parts, 1, [&](size_t begin, size_t end, size_t thread) {
    for (size_t item = begin; item < end; ++item) {
      const size_t head = item / n_parts, part = item % n_parts;
      for (size_t b = head * n_blocks; b < (head + 1) * n_blocks; ++b) {
        AttentionBlock block = listed_block_of(plan, s, b);
        PartialAttention stats = stats_of(plan, s, b, block);
        const size_t n_skipped = first_weighing - std::min(first_weighing, block.first_row);
        if (n_skipped >= block.n_rows) continue;
        block.first_row += n_skipped, block.n_rows -= n_skipped;
        stats.max += n_skipped, stats.sum += n_skipped;
        const size_t n_keys = n_listed(span, block.kv_head);
        block.key_begin = std::max(block.key_begin, n_keys * part / n_parts);
        block.key_end = std::min(block.key_end, n_keys * (part + 1) / n_parts);
        add_key_weights(block, stats.max, stats.sum, span.key_weights.row(block.kv_head).data(),
                        span.distance_weights.data ? span.distance_weights.row(block.kv_head).data() : nullptr,
                        work + thread * work_floats);
      }
    }
  });
}

// Bytes of the keys that the span sees, or of their values.
size_t bytes_seen(const AttentionSpan& span, size_t window) {
  const KvView& kv = span.kv;
  const size_t n = n_keys_seen(span, window);
  if (!kv.groups.bits) return n * row_bytes(kv.dtype, kv.d_head);
  size_t n_tail = 0;  // in f16
  for_each_head(span, [&](size_t head) {
    const size_t end = kv.positions.empty() ? span.first_pos + span.n_tokens : kv.n_slots(head);
    n_tail += has_list(span, head)
                  ? size_t(std::ranges::count_if(span.keys[head].ids(),
                                                 [&](uint32_t j) { return j >= kv.groups.first_tail && j < end; }))
                  : std::min(n_seen(span, head, window), end - kv.groups.first_tail);
  });
  return (n - n_tail) * kv_value_row_bytes(kv.groups.bits, kv.d_head) + n_tail * kv.d_head * sizeof(f16);
}

// with(token, its query heads' part of a row) of all that the spans compute.
template <class With>
void for_each_computed(Compute& compute, size_t n_head, std::span<const AttentionSpan> spans, const With& with) {
  for (const AttentionSpan& span : spans) {
    const size_t group = n_head / span.kv.n_kv_head;
    compute.threads.parallel_for(span.n_tokens, 16, [&](size_t begin, size_t end) {
      for (size_t t = begin; t < end; ++t)
        for_each_head(span, [&](size_t head) {
          with(span.first_token + t, head * group * span.kv.d_head, group * span.kv.d_head);
        });
    });
  }
}

}  // namespace

size_t n_keys_seen(const AttentionSpan& span, size_t window) {
  if (is_uniform(span)) return span.n_kv_heads() * n_seen(span, 0, window);
  size_t n = 0;
  for_each_head(span, [&](size_t head) { n += n_seen(span, head, window); });
  return n;
}

namespace {

void attend_spans(Compute& compute, MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
                  const AttentionParams& params, MatView<float> out) {
  for (const AttentionSpan& span : spans) {
    const size_t n_times = 1 + !span.n_values + bool(span.key_weights.data);  // keys, values, keys again
    compute.meter.read_kv(n_times * bytes_seen(span, params.window));
  }
  const size_t d_head = spans[0].kv.d_head, n_threads = compute.threads.n_threads();

  const Arena::Scope scope(compute.arena);
  const auto whole_lines = [](size_t n) { return round_up(n, AlignedBuffer::kAlignBytes / sizeof(float)); };
  Plan plan{Q, out, params, spans, {}, n_head / spans[0].kv.n_kv_head, attention_block_rows(), 0};
  plan.divisions = compute.arena.take<Division>(spans.size());
  const size_t tile_floats =
      params.tiles != AttentionTiles::kNever && !params.spans_as_alone ? attention_tile_scratch(d_head) : 0;
  divide(plan, n_threads, tile_floats > 0);
  const size_t work_floats =
      whole_lines(std::max(attention_block_scratch(d_head), plan.most_rows > plan.block_rows ? tile_floats : 0));
  if (plan.n_stats > 0) {
    plan.max = compute.arena.take<float>(plan.n_stats).data();
    plan.sum = compute.arena.take<float>(plan.n_stats).data();
  }
  const bool has_parts = plan.n_items > plan.n_blocks;
  const size_t partial_floats = whole_lines(plan.most_rows * (d_head + 2));
  float* const work = compute.arena.take<float>(n_threads * work_floats).data();
  float* const partials = has_parts ? compute.arena.take<float>(plan.n_items * partial_floats).data() : nullptr;
  size_t stride = 0, most_rows = 0;  // of spans of which a few values are read
  for (size_t s = 0; s < spans.size(); ++s) {
    if (spans[s].n_values == 0) continue;
    stride = std::max(stride, whole_lines(plan.divisions[s].most_keys + plan.block_rows));
    most_rows = std::max(most_rows, std::min(plan.n_rows(s), plan.block_rows));
  }
  float* const weights = compute.arena.take<float>(n_threads * most_rows * stride).data();
  uint32_t* const lists = compute.arena.take<uint32_t>(n_threads * 2 * stride).data();
  std::atomic<size_t> n_values_read = 0;
  const auto partial_of = [&](size_t item) {
    float* const p = partials + item * partial_floats;
    return PartialAttention{p, p + plan.most_rows * d_head, p + plan.most_rows * (d_head + 1)};
  };

  compute.threads.parallel_for_dynamic(plan.n_items, 1, [&](size_t begin, size_t end, size_t thread) {
    for (size_t item = begin; item < end; ++item) {
      const size_t s = span_of<&Division::first_item>(plan, item);
      const size_t n_parts = plan.divisions[s].n_parts, local = item - plan.divisions[s].first_item;
      if (spans[s].n_values) {
        const AttentionBlock block = listed_block_of(plan, s, local);
        uint32_t* const own = lists + thread * 2 * stride;
        n_values_read += attend_values(block, out, stats_of(plan, s, local, block),
                                       {weights + thread * most_rows * stride, own, own + stride, stride},
                                       work + thread * work_floats);
        continue;
      }
      AttentionBlock block = block_of(plan, s, local / n_parts);
      const size_t part = local % n_parts, first = block.key_begin, n_keys = block.key_end - first;
      block.key_begin = first + n_keys * part / n_parts;
      block.key_end = first + n_keys * (part + 1) / n_parts;
      attend_block(block, out, n_parts > 1 ? partial_of(item) : stats_of(plan, s, local / n_parts, block),
                   work + thread * work_floats);
    }
  });
  const KvView& first = spans[0].kv;
  compute.meter.read_kv(n_values_read * (first.groups.bits ? kv_value_row_bytes(first.groups.bits, d_head)
                                                           : row_bytes(first.dtype, d_head)));
  if (has_parts)
    compute.threads.parallel_for(plan.n_blocks, 1, [&](size_t begin, size_t end) {
      for (size_t b = begin; b < end; ++b) {
        const size_t s = span_of<&Division::first_block>(plan, b);
        const Division& division = plan.divisions[s];
        if (division.n_parts == 1) continue;
        const size_t local = b - division.first_block, first = division.first_item + local * division.n_parts;
        const AttentionBlock block = block_of(plan, s, local);
        const auto part_at = [&](size_t p) { return partial_of(first + p); };
        merge(block, division.n_parts, part_at, stats_of(plan, s, local, block), out);
      }
    });
  for (size_t s = 0; s < spans.size(); ++s)
    if (spans[s].key_weights.data) sum_key_weights(compute, plan, s, work, work_floats);
}

}  // namespace

void attention(Compute& compute, MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out) {
  check(Q, n_head, spans, params, out);
  if (spans.empty()) return;
  if (!spans[0].kv.rotated) return attend_spans(compute, Q, n_head, spans, params, out);
  // Scores are those of rotated queries with rotated keys; what is summed is the result, rotated.
  const Arena::Scope scope(compute.arena);
  const size_t block = hadamard_block(spans[0].kv.d_head);
  const MatView<float> turned(compute.arena.take<float>(Q.rows * Q.cols).data(), Q.rows, Q.cols);
  for_each_computed(compute, n_head, spans, [&](size_t token, size_t first, size_t n) {
    std::ranges::copy(Q.row(token).subspan(first, n), turned.row(token).data() + first);
    hadamard(turned.row(token).subspan(first, n), block);
  });
  attend_spans(compute, turned, n_head, spans, params, out);
  for_each_computed(compute, n_head, spans,
                    [&](size_t token, size_t first, size_t n) { hadamard(out.row(token).subspan(first, n), block); });
}

}  // namespace hunch
