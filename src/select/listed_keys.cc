#include "select/listed_keys.h"

#include <algorithm>
#include <atomic>

#include "kernels/attention_merge.h"

namespace hunch {

struct ListedState::Question {
  Compute& compute;
  const KeyPlace& place;
  const AttentionSpan queries;
  const MatView<const float> Q;
  const size_t n_head;
  const AttentionParams& params;
  const MatView<float> out;
  const std::span<PageReads> reads;

  size_t group() const { return n_head / queries.kv.n_kv_head; }
  size_t kv_head(size_t i) const { return queries.all_heads ? i : queries.kv_heads[i]; }
  // The query heads of token t that share a KV head, and what they are given.
  MatView<const float> q(size_t t, size_t head) const {
    const size_t d = queries.kv.d_head;
    return {Q.row(queries.first_token + t).data() + head * group() * d, group(), d};
  }
  MatView<float> y(size_t t, size_t head) const {
    const size_t d = queries.kv.d_head;
    return {out.row(queries.first_token + t).data() + head * group() * d, group(), d};
  }
};

PageReads ListedState::attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query,
                              MatView<const float> Q, size_t n_head, const AttentionParams& params,
                              MatView<float> out) {
  PageReads reads;
  attend_all(compute, place, query, Q, n_head, params, out, {&reads, 1});
  return reads;
}

void ListedState::attend_all(Compute& compute, const KeyPlace& place, const AttentionSpan& queries,
                             MatView<const float> Q, size_t n_head, const AttentionParams& params, MatView<float> out,
                             std::span<PageReads> reads) {
  if (place.layer < n_full_ || params.window > 0) return attention(compute, Q, n_head, {&queries, 1}, params, out);
  for (size_t t = 0, n = 0; t < queries.n_tokens; t += n) {
    n = n_alike(part_of(queries, t, 1), std::min(kTogether, queries.n_tokens - t));
    const AttentionSpan part = part_of(queries, t, n);
    look(compute, place, part, queries.kv.d_head);
    attend_part({compute, place, part, Q, n_head, params, out, reads.subspan(t, n)});
  }
}

void ListedState::attend_part(const Question& o) {
  constexpr size_t kWorthThreads = 1 << 14;  // keys to look at: fewer are not worth waking anybody
  const KvView& kv = o.queries.kv;
  const size_t n = o.queries.n_tokens, n_heads = o.queries.n_kv_heads(), n_lists = n * kv.n_kv_head;
  if (lists_.size() < n_lists) lists_.resize(n_lists), drawn_.resize(n_lists), stand_for_.resize(n_lists);
  for (size_t i = 0; i < n_lists; ++i) lists_[i].refill_all(kv.n_tokens);
  std::atomic<size_t> n_bytes = 0;
  const auto choose_some = [&](size_t begin, size_t end, size_t) {
    size_t bytes = 0;
    for (size_t i = begin; i < end; ++i) {
      const size_t t = i / n_heads, head = o.kv_head(i % n_heads), list = t * kv.n_kv_head + head;
      const AttentionSpan query = part_of(o.queries, t, 1);
      std::vector<uint32_t>& slots = lists_[list].refill(kv.n_tokens);
      bytes += choose(o.place, query, head, o.q(t, head), slots);
      if (draws()) stand_for_[list] = draw(o.place, query, head, slots, drawn_[list].refill(kv.n_tokens));
    }
    n_bytes += bytes;
  };
  if (n * n_heads * o.queries.first_pos >= kWorthThreads) {
    o.compute.threads.parallel_for_dynamic(n * n_heads, 1, choose_some);
  } else {
    choose_some(0, n * n_heads, 0);
  }
  o.compute.meter.read_kv(n_bytes);

  const Arena::Scope scope(o.compute.arena);
  const std::span<AttentionSpan> spans = o.compute.arena.take<AttentionSpan>(n);
  for (size_t t = 0; t < n; ++t) {
    new (&spans[t]) AttentionSpan(part_of(o.queries, t, 1));
    spans[t].keys = std::span(lists_).subspan(t * kv.n_kv_head, kv.n_kv_head);
    if (draws()) spans[t].stats = {o.compute.arena.take<float>(2 * n_heads * o.group()).data(), 2, n_heads * o.group()};
    o.reads[t].n_keys = n_keys_seen(spans[t], 0);
  }
  attention(o.compute, o.Q, o.n_head, spans, o.params, o.out);
  if (draws()) attend_to_drawn(o, spans);
}

// What was drawn joins with the weight of all that it stands for.
void ListedState::attend_to_drawn(const Question& o, std::span<AttentionSpan> spans) {
  const size_t n = spans.size(), n_kv_head = o.queries.kv.n_kv_head, n_heads = o.queries.n_kv_heads();
  const size_t width = o.out.cols;
  const MatView<float> drawn(o.compute.arena.take<float>(n * width).data(), n, width);
  const MatView<float> Q(o.compute.arena.take<float>(n * width).data(), n, width);
  const std::span<AttentionSpan> others = o.compute.arena.take<AttentionSpan>(n);
  for (size_t t = 0; t < n; ++t) {
    std::ranges::copy(o.Q.row(o.queries.first_token + t), Q.row(t).begin());
    new (&others[t]) AttentionSpan(spans[t]);
    others[t].first_token = t;
    others[t].keys = std::span(drawn_).subspan(t * n_kv_head, n_kv_head);
    others[t].stats = {o.compute.arena.take<float>(2 * n_heads * o.group()).data(), 2, n_heads * o.group()};
    o.reads[t].n_keys += n_keys_seen(others[t], 0);
  }
  AttentionParams params = o.params;
  params.sinks = {};  // they count once
  attention(o.compute, Q, o.n_head, others, params, drawn);
  for (size_t t = 0; t < n; ++t)
    for (size_t i = 0; i < n_heads; ++i) {
      const size_t head = o.kv_head(i), d = o.queries.kv.d_head;
      for (size_t g = 0; g < o.group(); ++g) {
        const size_t row = i * o.group() + g;
        merge_attention(drawn.row(t).subspan((head * o.group() + g) * d, d), others[t].stats.row(0)[row],
                        others[t].stats.row(1)[row] * float(stand_for_[t * n_kv_head + head]), o.y(t, head).row(g),
                        spans[t].stats.row(0)[row], spans[t].stats.row(1)[row]);
      }
    }
}

}  // namespace hunch
