#include "model/self_extend.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/attention_merge.h"
#include "kernels/kv_rows.h"

namespace hunch {
namespace {

// The window's keys, turned on, and its values, as a cache of one page: keys [n_kv_head, n, d_head], then values.
void copy_near(Compute& compute, const KvView& view, size_t first, const Rotation& turns, bool interleaved, float* to) {
  const size_t n = turns.cos.rows, d = view.d_head;
  compute.threads.parallel_for(view.n_kv_head * n, 16, [&](size_t begin, size_t end) {
    for (size_t row = begin; row < end; ++row) {
      const size_t head = row / n, i = row % n;
      const MatView<float> key(to + row * d, 1, d), value(to + (view.n_kv_head * n + row) * d, 1, d);
      read_kv_rows(view, KvPart::kKeys, head, first + i, key);
      read_kv_rows(view, KvPart::kValues, head, first + i, value);
      rope(key.row(0), turns.cos.row(i), turns.sin.row(i), interleaved);
    }
  });
}

MatView<float> stats_of(Compute& compute, size_t n_rows) {
  return {compute.arena.take<float>(2 * n_rows).data(), 2, n_rows};
}

}  // namespace

void attend_self_extended(Compute& compute, const SelfExtend& extend, const AttentionSpan& span,
                          MatView<const float> near, MatView<const float> far, size_t n_head, const Rotation& turns,
                          bool rope_interleaved, const AttentionParams& params, MatView<float> out) {
  const KvView& view = span.kv;
  const size_t first = extend.first_near(span.first_pos), n_near = span.first_pos + span.n_tokens - first;
  HUNCH_CHECK(
      span.all_heads && view.positions.empty() && params.causal && params.window == 0 && turns.cos.rows == n_near,
      "{} turns of {} near keys", turns.cos.rows, n_near);
  const Arena::Scope scope(compute.arena);
  const size_t d = view.d_head, half = view.n_kv_head * n_near * d, group = n_head / view.n_kv_head;
  float* const copy = compute.arena.take<float>(2 * half).data();
  copy_near(compute, view, first, turns, rope_interleaved, copy);
  const std::byte* const page = reinterpret_cast<const std::byte*>(copy);
  AttentionSpan window = span;
  window.kv = {{&page, 1}, n_near, view.n_kv_head, d, DType::kF32, half * sizeof(float), n_near, {}};
  window.first_pos = span.first_pos - first;
  window.stats = stats_of(compute, n_head * span.n_tokens);
  AttentionParams own = params;
  own.sinks = {};  // counted once, at the end
  own.window = extend.window;
  attention(compute, near, n_head, {&window, 1}, own, out);

  // Tokens of the window see nothing beyond it.
  const size_t n_without = std::min(span.n_tokens, extend.window - std::min(extend.window, span.first_pos));
  const size_t n_far = span.n_tokens - n_without;
  AttentionSpan beyond = span;
  beyond.first_token = 0, beyond.n_tokens = n_far;
  MatView<float> more;
  if (n_far > 0) {
    beyond.first_pos = span.first_pos + n_without - extend.window;
    beyond.stats = stats_of(compute, n_head * n_far);
    more = {compute.arena.take<float>(n_far * n_head * d).data(), n_far, n_head * d};
    own.window = 0;
    attention(compute, far.row_range(span.first_token + n_without, n_far), n_head, {&beyond, 1}, own, more);
  }
  compute.threads.parallel_for(span.n_tokens, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t)
      for (size_t h = 0; h < n_head; ++h) {
        const auto row = [&](size_t n, size_t token) { return (h / group * n + token) * group + h % group; };
        const std::span<float> sum_of = out.row(span.first_token + t).subspan(h * d, d);
        float &max = window.stats.row(0)[row(span.n_tokens, t)], &sum = window.stats.row(1)[row(span.n_tokens, t)];
        if (t >= n_without) {
          const size_t other = row(n_far, t - n_without);
          merge_attention(more.row(t - n_without).subspan(h * d, d), beyond.stats.row(0)[other],
                          beyond.stats.row(1)[other], sum_of, max, sum);
        }
        if (!params.sinks.empty()) scale(sum / (sum + std::exp(params.sinks[h] - max)), sum_of);
      }
  });
}

}  // namespace hunch
