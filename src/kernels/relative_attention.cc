#include "kernels/relative_attention.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/kv_rows.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

constexpr size_t kRows = 32;  // keys or values that are decoded at once

struct Memory {
  std::span<float> scores;       // [the most keys]
  std::span<float> content, at;  // [d_head] q + u, q + v
  MatView<float> rows;           // [kRows, d_head]
};

void attend(const AttentionSpan& span, size_t t, size_t head, size_t group, MatView<const float> Q,
            const RelativeAttention& params, const Memory& memory, MatView<float> out) {
  const KvView& kv = span.kv;
  const size_t d = kv.d_head, p = span.first_pos + t, first = params.first_seen(p), n = p + 1 - first;
  const std::span<const float> q = Q.row(span.first_token + t).subspan(head * d, d);
  for (size_t i = 0; i < d; ++i) {
    memory.content[i] = q[i] + params.content_bias[head * d + i];
    memory.at[i] = q[i] + params.position_bias[head * d + i];
  }
  const auto for_rows = [&](KvPart part, const auto& each) {
    for (size_t begin = 0; begin < n; begin += kRows) {
      const MatView<float> rows = memory.rows.row_range(0, std::min(kRows, n - begin));
      read_kv_rows(kv, part, head / group, first + begin, rows);
      for (size_t i = 0; i < rows.rows; ++i) each(begin + i, rows.row(i));
    }
  };
  const std::span<float> scores = memory.scores.first(n);
  for_rows(KvPart::kKeys, [&](size_t j, std::span<const float> key) {
    const size_t distance = std::min(p - first - j, params.distances.rows - 1);
    scores[j] =
        params.scale * (dot(memory.content, key) + dot(memory.at, params.distances.row(distance).subspan(head * d, d)));
  });
  softmax(scores);
  const std::span<float> to = out.row(span.first_token + t).subspan(head * d, d);
  std::ranges::fill(to, 0.0f);
  for_rows(KvPart::kValues, [&](size_t j, std::span<const float> value) { axpy(scores[j], value, to); });
}

}  // namespace

void relative_attention(Compute& compute, MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
                        const RelativeAttention& params, MatView<float> out) {
  const Arena::Scope scope(compute.arena);
  for (const AttentionSpan& span : spans) {
    const KvView& kv = span.kv;
    const size_t d = kv.d_head, width = n_head * d, group = n_head / kv.n_kv_head;
    HUNCH_CHECK(kv.positions.empty() && span.keys.empty() && span.all_heads && Q.cols == width &&
                    params.content_bias.size() == width && params.position_bias.size() == width &&
                    params.distances.cols == width && params.distances.rows > 0,
                "{} heads of {}", n_head, d);
    if (span.n_tokens == 0) continue;
    const size_t end = span.first_pos + span.n_tokens, n_seen = end - params.first_seen(span.first_pos);
    const size_t n_threads = compute.threads.n_threads(), n_floats = n_seen + (2 + kRows) * d;
    const std::span<float> memory = compute.arena.take<float>(n_threads * n_floats);
    compute.threads.parallel_for_dynamic(span.n_tokens * n_head, 4, [&](size_t begin, size_t last, size_t thread) {
      const std::span<float> own = memory.subspan(thread * n_floats, n_floats);
      const Memory parts{own.first(n_seen),
                         own.subspan(n_seen, d),
                         own.subspan(n_seen + d, d),
                         {own.data() + n_seen + 2 * d, kRows, d}};
      for (size_t i = begin; i < last; ++i) attend(span, i / n_head, i % n_head, group, Q, params, parts, out);
    });
    const size_t n_distances = std::min(n_seen, params.distances.rows);
    compute.meter.read_kv(2 * kv.n_kv_head * n_seen * kv_row_bytes(kv) + n_distances * width * sizeof(float));
  }
}

}  // namespace hunch
