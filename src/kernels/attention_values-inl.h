// Attention of which only the values with the largest weights are read: a row's weights are all known before its first
// value.
// clang-format off
#if defined(HUNCH_KERNELS_ATTENTION_VALUES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_VALUES_INL_H_
#undef HUNCH_KERNELS_ATTENTION_VALUES_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_VALUES_INL_H_
#endif
// clang-format on
#include "hwy/highway.h"
#include "kernels/attention_narrow-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

HWY_INLINE float dot_row(const float* a, const float* b, size_t n) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  VF sum = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  if (i < n) sum = hn::MulAdd(load_tail(d, a + i, n - i), load_tail(d, b + i, n - i), sum);
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

HWY_INLINE void axpy_row(float a, const float* x, size_t n, float* y) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::MulAdd(hn::Set(d, a), hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  for (; i < n; ++i) y[i] += a * x[i];
}

// Scores of all keys that some row sees, -inf where the row does not; their slots; how many there are.
HWY_INLINE size_t score_keys(const AttentionBlock& block, const ValueMemory& memory, float* k32) {
  const DF d;
  const size_t lanes = hn::Lanes(d), d_head = block.span->kv.d_head;
  size_t n_keys = 0;
  for_each_listed_tile(block, k32, nullptr, [&](const ListedTile& tile) HWY_ATTR {
    std::copy_n(tile.slots, tile.n_keys, memory.slots + n_keys);
    for (size_t r = 0; r < block.n_rows; ++r) {
      const float* q = block.Q.row(block.row_in_q(r)).data() + block.head(r) * d_head;
      float* const scores = memory.weights + r * memory.stride + n_keys;
      for (size_t j = 0; j < tile.n_keys; ++j)
        scores[j] = block.params->scale * dot_row(q, tile.k + j * d_head, d_head);
      for (size_t j = tile.n_keys; j % lanes != 0; ++j) scores[j] = kLowest;
      const float slope = slope_of(block, r);
      const SeenListed seen = seen_by(block, r, tile.positions);
      for (size_t j = 0; j < tile.n_keys; j += lanes)
        hn::StoreU(shown_scores(d, *block.params, slope, seen, block.params->soft_cap > 0 || slope != 0, scores, j,
                                tile.n_keys),
                   d, scores + j);
    }
    n_keys += tile.n_keys;
  });
  return n_keys;
}

// Turns row r's scores into weights that sum to 1 (with a sink, to less).
HWY_INLINE void weigh_row(const AttentionBlock& block, size_t r, float* scores, size_t n_keys, float& max, float& sum) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  for (size_t j = n_keys; j % lanes != 0; ++j) scores[j] = kLowest;
  VF vmax = hn::Set(d, kLowest), total = hn::Zero(d);
  for (size_t j = 0; j < n_keys; j += lanes) vmax = hn::Max(vmax, hn::LoadU(d, scores + j));
  max = hn::GetLane(hn::MaxOfLanes(d, vmax));
  const VF base = hn::Set(d, max == kLowest ? 0.0f : max);
  for (size_t j = 0; j < n_keys; j += lanes) {
    const VF weight = exp(d, hn::Sub(hn::LoadU(d, scores + j), base));
    total = hn::Add(total, weight);
    hn::StoreU(weight, d, scores + j);
  }
  sum = hn::GetLane(hn::SumOfLanes(d, total));
  sum = with_sink(block, r, max, sum);
  const VF factor = hn::Set(d, inverse_or_0(sum));
  for (size_t j = 0; j < n_keys; j += lanes) hn::StoreU(hn::Mul(factor, hn::LoadU(d, scores + j)), d, scores + j);
}

HWY_INLINE size_t attend_few_values(const AttentionBlock& block, MatView<float> out, const PartialAttention& stats,
                                    const ValueMemory& memory, float* scratch) {
  const size_t d_head = block.span->kv.d_head;
  const size_t n_keys = score_keys(block, memory, scratch);
  for (size_t r = 0; r < block.n_rows; ++r) {
    float max, sum;
    weigh_row(block, r, memory.weights + r * memory.stride, n_keys, max, sum);
    if (stats.max) stats.max[r] = max, stats.sum[r] = sum;
    keep_largest(std::span(memory.weights + r * memory.stride, n_keys), block.span->n_values, memory.order);
    std::fill_n(out.row(block.row_in_q(r)).data() + block.head(r) * d_head, d_head, 0.0f);
  }
  size_t n_read = 0;
  for (size_t j = 0; j < n_keys; ++j) {
    bool is_read = false;
    for (size_t r = 0; r < block.n_rows; ++r) {
      const float weight = memory.weights[r * memory.stride + j];
      if (weight == 0) continue;
      if (!is_read) decode_value(block, memory.slots[j], scratch);
      is_read = true;
      axpy_row(weight, scratch, d_head, out.row(block.row_in_q(r)).data() + block.head(r) * d_head);
    }
    n_read += is_read;
  }
  return n_read;
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
