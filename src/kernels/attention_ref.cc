#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/half.h"
#include "kernels/attention.h"

namespace hunch::ref {
namespace {

// Element i of the K (offset 0) or V row of key `j`.
double element(const KvView& kv, size_t offset_bytes, size_t kv_head, size_t j, size_t i) {
  const size_t index = (kv_head * kv.page_tokens + j % kv.page_tokens) * kv.d_head + i;
  const std::byte* base = kv.pages[j / kv.page_tokens] + offset_bytes;
  if (kv.dtype == DType::kF16) return to_f32(reinterpret_cast<const f16*>(base)[index]);
  return reinterpret_cast<const float*>(base)[index];
}

}  // namespace

void attention(MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out) {
  for (const AttentionSpan& span : spans) {
    const KvView& kv = span.kv;
    for (size_t t = 0; t < span.n_tokens; ++t) {
      const size_t pos = span.first_pos + t;
      const size_t begin = params.window && pos + 1 > params.window ? pos + 1 - params.window : 0;
      std::vector<double> p(pos + 1 - begin), mix(kv.d_head);
      for (size_t head = 0; head < n_head; ++head) {
        const size_t kv_head = head / (n_head / kv.n_kv_head);
        if (!span.all_heads && std::ranges::find(span.kv_heads, kv_head) == span.kv_heads.end()) continue;
        const float* q = Q.row(span.first_token + t).data() + head * kv.d_head;
        double max = -std::numeric_limits<double>::infinity(), sum = 0;
        for (size_t j = begin; j <= pos; ++j) {
          double s = 0;
          for (size_t i = 0; i < kv.d_head; ++i) s += q[i] * element(kv, 0, kv_head, j, i);
          s *= params.scale;
          if (params.soft_cap > 0) s = params.soft_cap * std::tanh(s / params.soft_cap);
          if (!params.alibi_slopes.empty()) s -= params.alibi_slopes[head] * double(pos - j);
          p[j - begin] = s;
          max = std::max(max, s);
        }
        std::fill(mix.begin(), mix.end(), 0.0);
        for (size_t j = begin; j <= pos; ++j) {
          const double weight = std::exp(p[j - begin] - max);
          sum += weight;
          for (size_t i = 0; i < kv.d_head; ++i) mix[i] += weight * element(kv, kv.v_offset_bytes, kv_head, j, i);
        }
        float* y = out.row(span.first_token + t).data() + head * kv.d_head;
        for (size_t i = 0; i < kv.d_head; ++i) y[i] = float(mix[i] / sum);
      }
    }
  }
}

}  // namespace hunch::ref
