// Between attention and a memory.
#include <cmath>

#include "model/model.h"
#include "model/step.h"

namespace hunch {
namespace {

// Undoes what RoPE made of a query, but for what it scales queries by: a memory has no position.
void turn_home(std::span<float> head, std::span<const float> cos, std::span<const float> sin, bool interleaved,
               std::span<float> scratch) {
  const std::span<float> c = scratch.first(cos.size()), s = scratch.subspan(cos.size(), sin.size());
  for (size_t i = 0; i < cos.size(); ++i) {
    const float length = std::sqrt(cos[i] * cos[i] + sin[i] * sin[i]);
    c[i] = cos[i] / length, s[i] = -sin[i] / length;
  }
  rope(head, c, s, interleaved);
}

}  // namespace

const MemoryReader* Step::memory_of(size_t r, size_t layer) const {
  const Plan* const plan = runs()[r].plan;
  return plan && plan->memory && !plan->memory->at(layer).empty() ? plan->memory.get() : nullptr;
}

void Step::give_stats(const LayerConfig& c, std::span<AttentionSpan> spans) {
  for (AttentionSpan& span : spans) span.stats = take(2, c.n_head * span.n_tokens);
}

void Step::recall(size_t r, const LayerConfig& c, std::span<const AttentionSpan> spans, MatView<const float> Q,
                  MatView<float> out) {
  const MemoryReader& reader = *memory_of(r, c.index);
  const Rotation rotation = this->rotation(c);
  const size_t d = c.d_head, group = c.n_head / c.n_kv_head;
  for (const AttentionSpan& span : spans)
    for (size_t kv_head = 0; kv_head < c.n_kv_head; ++kv_head) {
      const Arena::Scope scope(compute.arena);
      const size_t n = span.n_tokens * group;
      const MatView<float> queries = take(n, d), mixed = take(n, d);
      const std::span<float> scratch = compute.arena.take<float>(2 * (rotation.cos.data ? rotation.cos.cols : 0)),
                             gates = compute.arena.take<float>(reader.gate < 0 ? 0 : n);
      std::ranges::fill(gates, float(reader.gate));
      for (size_t i = 0; i < n; ++i) {
        const size_t token = span.first_token + i / group, column = (kv_head * group + i % group) * d;
        std::ranges::copy(Q.row(token).subspan(column, d), queries.row(i).begin());
        std::ranges::copy(out.row(token).subspan(column, d), mixed.row(i).begin());
        if (rotation.cos.data)
          turn_home(queries.row(i), rotation.cos.row(token), rotation.sin.row(token), c.rope_interleaved, scratch);
      }
      const MemoryMix mix{reader.top, c.attn_scale, c.attn_soft_cap, gates};
      attend_memory(compute, queries, reader.at(c.index)[kv_head], mix,
                    {span.stats.row(0).subspan(kv_head * n, n), span.stats.row(1).subspan(kv_head * n, n)}, mixed);
      for (size_t i = 0; i < n; ++i)
        std::ranges::copy(mixed.row(i),
                          out.row(span.first_token + i / group).data() + (kv_head * group + i % group) * d);
    }
}

}  // namespace hunch
