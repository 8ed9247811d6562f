#include "select/split_keys.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "kernels/kv_rows.h"
#include "select/key_policy.h"

namespace hunch {

PageReads SplitState::attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query,
                             MatView<const float> Q, size_t n_head, const AttentionParams& params, MatView<float> out) {
  PageReads reads;
  attend_all(compute, place, query, Q, n_head, params, out, {&reads, 1});
  return reads;
}

// Before blocks are whole.
size_t SplitState::n_far(const AttentionSpan& query) const {
  const size_t n_seen = query.first_pos + 1;
  return std::min(n_seen - std::min(n_seen, n_recent_), n_settled(query));
}

void SplitState::attend_all(Compute& compute, const KeyPlace& place, const AttentionSpan& all, MatView<const float> Q,
                            size_t n_head, const AttentionParams& params, MatView<float> out,
                            std::span<PageReads> reads) {
  if (place.layer < n_full_ || params.window > 0) return attention(compute, Q, n_head, {&all, 1}, params, out);
  if (!params.alibi_slopes.empty() || params.soft_cap > 0 || !params.sinks.empty())
    fail(ErrorKind::kUnsupported,
         "the key policy (kv_policy) '{}' sums keys up, of which ALiBi, soft caps and sinks make something else for "
         "every query: it does not apply to this model",
         kind_);
  const KvView& kv = all.kv;
  const size_t d = kv.d_head, group = n_head / kv.n_kv_head, n_heads = all.n_kv_heads();
  const auto head_of = [&](size_t i) { return all.all_heads ? i : size_t(all.kv_heads[i]); };
  prepare(place, kv);
  for (size_t t = 0, n = 0; t < all.n_tokens; t += n) {
    const AttentionSpan first = part_of(all, t, 1);
    const size_t n_far_now = n_far(first) / kBlock * kBlock;
    n = std::min(all.n_tokens - t, kBlock - n_far(first) % kBlock);
    AttentionSpan part = part_of(all, t, n);
    if (near_is_softmax() && n_far_now == 0) {
      attention(compute, Q, n_head, {&part, 1}, params, out);
      continue;
    }
    for (size_t i = 0; i < n; ++i) reads[t + i].n_keys = (part.first_pos + i + 1 - n_far_now) * n_heads;
    std::atomic<size_t> n_looked = 0, n_bytes = 0;
    compute.threads.parallel_for_dynamic(n_heads, 1, [&](size_t begin, size_t end, size_t) {
      for (size_t i = begin; i < end; ++i) n_looked += look(place, kv, head_of(i), n_far_now, params.scale);
    });
    const Arena::Scope scope(compute.arena);
    MatView<float> stats;  // as AttentionSpan::stats
    if (near_is_softmax()) {
      AttentionParams near = params;
      if (n == 1) {
        near.window = part.first_pos + 1 - n_far_now;
      } else {
        near_.resize(kv.n_kv_head);
        for (Rows& rows : near_) append_range(n_far_now, part.first_pos + n, rows.refill(kv.n_tokens));
        part.keys = near_;
      }
      part.stats = stats = {compute.arena.take<float>(2 * n_heads * n * group).data(), 2, n_heads * n * group};
      attention(compute, Q, n_head, {&part, 1}, near, out);
    }
    compute.threads.parallel_for_dynamic(n * n_heads, 1, [&](size_t begin, size_t end, size_t) {
      for (size_t item = begin; item < end; ++item) {
        const size_t i = item / n, token = item % n, head = head_of(i);
        const AttentionSpan query = part_of(part, token, 1);
        for (size_t g = 0; g < group; ++g) {
          const size_t column = (head * group + g) * d, row = (i * n + token) * group + g;
          float none_max = 0, none_sum = 0;
          float& max = stats.data ? stats.row(0)[row] : none_max;
          float& sum = stats.data ? stats.row(1)[row] : none_sum;
          n_bytes += join({place, query, head, n_far_now, params.scale, Q.row(query.first_token).subspan(column, d)},
                          out.row(query.first_token).subspan(column, d), max, sum);
        }
      }
    });
    compute.meter.read_kv(n_bytes + 2 * n_looked * kv_row_bytes(kv));
  }
}

}  // namespace hunch
