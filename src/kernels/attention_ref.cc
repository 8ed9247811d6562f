#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "formats/format.h"
#include "kernels/attention.h"
#include "kernels/hadamard.h"
#include "kernels/kv_groups.h"

namespace hunch::ref {
namespace {

std::vector<float> row_of_groups(const KvView& kv, bool is_value, size_t kv_head, size_t slot) {
  std::vector<float> values(kv.d_head);
  const size_t token = slot % kKvGroup, row_bytes = kv_value_row_bytes(kv.groups.bits, kv.d_head);
  if (slot >= kv.groups.first_tail) {
    const size_t row = kv_head * kKvGroup + slot - kv.groups.first_tail,
                 offset = is_value ? kv.groups.tail_v_offset_bytes : 0;
    codec(DType::kF16).decode(kv.groups.tail + offset + row * kv.d_head * sizeof(f16), values.data(), kv.d_head);
  } else if (is_value) {
    unpack_value(kv.groups.bits,
                 kv.pages[slot / kKvGroup] + kv.v_offset_bytes + (kv_head * kKvGroup + token) * row_bytes, values);
  } else {
    unpack_key(kv.groups.bits, kv.pages[slot / kKvGroup] + kv_head * kKvGroup * row_bytes, token, values);
  }
  return values;
}

// The K (offset 0) or V row of a slot.
std::vector<float> row(const KvView& kv, size_t offset_bytes, size_t kv_head, size_t slot) {
  if (kv.groups.bits) return row_of_groups(kv, offset_bytes > 0, kv_head, slot);
  const size_t index = kv_head * kv.page_tokens + slot % kv.page_tokens;
  std::vector<float> values(kv.d_head);
  const std::byte* at = kv.pages[slot / kv.page_tokens] + offset_bytes + index * row_bytes(kv.dtype, kv.d_head);
  codec(kv.dtype).decode(at, values.data(), kv.d_head);
  if (kv.rotated) ref::hadamard(values, hadamard_block(kv.d_head));
  return values;
}

// The slots that the query at `pos` sees.
std::vector<size_t> seen_slots(const AttentionSpan& span, size_t kv_head, size_t pos, const AttentionParams& params) {
  const size_t window = params.window, end = span.first_pos + span.n_tokens;
  std::vector<size_t> seen;
  for (size_t slot = 0; slot < span.kv.n_slots(kv_head); ++slot) {
    const size_t position = span.kv.position(kv_head, slot);
    if (params.causal ? position > pos : position >= end) continue;
    if (window && (position + window <= pos || position >= pos + window)) continue;
    if (!span.keys.empty() && !span.keys[kv_head].is_all() &&
        !std::ranges::binary_search(span.keys[kv_head].ids(), uint32_t(slot)))
      continue;
    seen.push_back(slot);
  }
  return seen;
}

// The places of the n largest weights, the first among equals.
std::vector<size_t> largest(const std::vector<double>& weights, size_t n) {
  std::vector<size_t> places(weights.size());
  std::iota(places.begin(), places.end(), size_t{0});
  std::ranges::stable_sort(places, std::greater<>(), [&](size_t j) { return weights[j]; });
  places.resize(std::min(n, places.size()));
  return places;
}

}  // namespace

void attention(MatView<const float> Q, size_t n_head, std::span<const AttentionSpan> spans,
               const AttentionParams& params, MatView<float> out) {
  for (const AttentionSpan& span : spans) {
    const KvView& kv = span.kv;
    for (size_t t = 0; t < span.n_tokens; ++t) {
      const size_t pos = span.first_pos + t;
      for (size_t head = 0; head < n_head; ++head) {
        const size_t kv_head = head / (n_head / kv.n_kv_head);
        if (!span.all_heads && std::ranges::find(span.kv_heads, kv_head) == span.kv_heads.end()) continue;
        const std::vector<size_t> slots = seen_slots(span, kv_head, pos, params);
        const float* q = Q.row(span.first_token + t).data() + head * kv.d_head;
        std::vector<double> weights, mix(kv.d_head);
        double max = -std::numeric_limits<double>::infinity(), sum = 0;
        for (const size_t slot : slots) {
          const std::vector<float> k = row(kv, 0, kv_head, slot);
          double s = 0;
          for (size_t i = 0; i < kv.d_head; ++i) s += double(q[i]) * k[i];
          s *= params.scale;
          if (params.soft_cap > 0) s = params.soft_cap * std::tanh(s / params.soft_cap);
          if (!params.alibi_slopes.empty())
            s -= params.alibi_slopes[head] * (double(pos) - double(kv.position(kv_head, slot)));
          weights.push_back(s);
          max = std::max(max, s);
        }
        for (double& weight : weights) sum += weight = std::exp(weight - max);
        if (!params.sinks.empty() && !slots.empty()) sum += std::exp(params.sinks[head] - max);
        if (span.stats.data) {
          const size_t place =
              span.all_heads ? kv_head : size_t(std::ranges::find(span.kv_heads, kv_head) - span.kv_heads.begin());
          const size_t group = n_head / kv.n_kv_head, row = (place * span.n_tokens + t) * group + head % group;
          span.stats.row(0)[row] = float(max);
          span.stats.row(1)[row] = float(sum);
        }
        const std::vector<size_t> read = largest(weights, span.n_values ? span.n_values : slots.size());
        for (const size_t j : read) {
          const std::vector<float> v = row(kv, kv.v_offset_bytes, kv_head, slots[j]);
          for (size_t i = 0; i < kv.d_head; ++i) mix[i] += weights[j] / sum * v[i];
        }
        for (size_t j = 0; span.key_weights.data && span.n_tokens - t <= span.n_weighing && j < slots.size(); ++j) {
          float& to = span.key_weights.row(kv_head)[slots[j]];
          const float weight = float(weights[j] / sum);
          to = span.weights_are_largest ? std::max(to, weight) : to + weight;
          if (span.distance_weights.data)
            span.distance_weights.row(kv_head)[pos - kv.position(kv_head, slots[j])] += weight;
        }
        std::ranges::copy(mix, out.row(span.first_token + t).data() + head * kv.d_head);
      }
    }
  }
}

}  // namespace hunch::ref
