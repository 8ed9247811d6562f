#include "model/relative_positions.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/memory_info.h"
#include "kernels/relative_attention.h"
#include "model/layer.h"

namespace hunch {

size_t n_distances(const LayerConfig& c) {
  const RelativePositions& r = c.relative;
  const size_t n_seen = r.same_length ? std::max<size_t>(1, r.memory) : r.memory + std::max<size_t>(1, r.segment);
  return r.clamp > 0 ? std::min(n_seen, r.clamp + 1) : n_seen;
}

Vector distance_rows(Compute& compute, const LayerConfig& c, std::span<const float> W_r) {
  const size_t n = n_distances(c), width = c.n_head * c.d_head, half = (c.n_embd + 1) / 2;
  HUNCH_CHECK(W_r.size() == width * c.n_embd, "W_r of {} values", W_r.size());
  require_memory(n * width * sizeof(float), fmt::format("layer {}'s table of {} distances", c.index, n));
  Vector rows(n * width);
  compute.threads.parallel_for_dynamic(n, 1, [&](size_t begin, size_t end, size_t) {
    Vector position(2 * half);
    for (size_t distance = begin; distance < end; ++distance) {
      for (size_t i = 0; i < half; ++i) {
        const double angle = double(distance) * std::pow(10000.0, -2.0 * double(i) / double(c.n_embd));
        position[i] = float(std::sin(angle));
        position[half + i] = float(std::cos(angle));
      }
      for (size_t o = 0; o < width; ++o)
        rows[distance * width + o] =
            dot(std::span<const float>(position).first(c.n_embd), W_r.subspan(o * c.n_embd, c.n_embd));
    }
  });
  return rows;
}

void Attention::attend_relative(Step& s, const LayerConfig& c, MatView<const float> queries,
                                std::span<const AttentionSpan> spans, MatView<float> heads) const {
  const size_t width = c.n_head * c.d_head;
  RelativeAttention params;
  params.scale = c.attn_scale;
  params.content_bias = content_bias;
  params.position_bias = position_bias;
  params.distances = {distances.data(), distances.size() / width, width};
  params.memory = c.relative.memory;
  params.segment = c.relative.segment;
  params.same_length = c.relative.same_length;
  relative_attention(s.compute, queries, c.n_head, spans, params, heads);
}

}  // namespace hunch
