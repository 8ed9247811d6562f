#include <cmath>
#include <vector>

#include "kernels/kv_rows.h"
#include "kernels/relative_attention.h"

namespace hunch::ref {

void relative_attention(MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
                        const RelativeAttention& params, MatView<float> out) {
  for (const AttentionSpan& span : spans)
    for (size_t t = 0; t < span.n_tokens; ++t)
      for (size_t head = 0; head < n_head; ++head) {
        const size_t d = span.kv.d_head, p = span.first_pos + t, kv_head = head / (n_head / span.kv.n_kv_head);
        const float* q = Q.row(span.first_token + t).data() + head * d;
        std::vector<double> mix(d);
        std::vector<float> row(d);
        double sum = 0;
        for (size_t j = params.first_seen(p); j <= p; ++j) {
          read_kv_rows(span.kv, KvPart::kKeys, kv_head, j, {row.data(), 1, d});
          const float* r = params.distances.row(std::min(p - j, params.distances.rows - 1)).data() + head * d;
          double score = 0;
          for (size_t i = 0; i < d; ++i)
            score += (double(q[i]) + params.content_bias[head * d + i]) * row[i] +
                     (double(q[i]) + params.position_bias[head * d + i]) * r[i];
          const double weight = std::exp(score * params.scale);
          sum += weight;
          read_kv_rows(span.kv, KvPart::kValues, kv_head, j, {row.data(), 1, d});
          for (size_t i = 0; i < d; ++i) mix[i] += weight * row[i];
        }
        for (size_t i = 0; i < d; ++i) out.row(span.first_token + t)[head * d + i] = float(mix[i] / sum);
      }
}

}  // namespace hunch::ref
