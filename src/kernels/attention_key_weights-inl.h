// The weights that keys were given, summed over queries: scores once more, against the max and sum that are now known.
// clang-format off
#if defined(HUNCH_KERNELS_ATTENTION_KEY_WEIGHTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_KEY_WEIGHTS_INL_H_
#undef HUNCH_KERNELS_ATTENTION_KEY_WEIGHTS_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_KEY_WEIGHTS_INL_H_
#endif
// clang-format on
#include "hwy/highway.h"
#include "kernels/attention_narrow-inl.h"
#include "kernels/attention_wide-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

HWY_INLINE float finite_or_0(float max) { return max == kLowest ? 0.0f : max; }

HWY_INLINE void add_weight(bool largest, float weight, float& to) { to = largest ? std::max(to, weight) : to + weight; }

// The weights of keys [0, n) that row r sees, by how far before it they stand.
HWY_INLINE void add_by_distance(const AttentionBlock& block, size_t r, const int32_t* positions, size_t n,
                                const float* weights, size_t stride, float* distances) {
  const int32_t pos = int32_t(block.pos(r));
  for (size_t j = 0; j < n; ++j)
    if (positions[j] <= pos) distances[pos - positions[j]] += weights[j * stride];
}

HWY_INLINE void key_weights_narrow(const AttentionBlock& block, const float* max, const float* sum, float* weights,
                                   float* distances, float* scratch) {
  const DF d;
  const size_t lanes = hn::Lanes(d), d_head = block.span->kv.d_head, padded = (d_head + lanes - 1) / lanes * lanes;
  float* const queries = scratch;                         // [n_rows, padded]
  float* const scores = queries + block.n_rows * padded;  // [kTileKeys + lanes]
  float* const tile_sums = scores + kTileKeys + lanes;    // [kTileKeys + lanes]
  float* const k32 = tile_sums + kTileKeys + lanes;       // [kTileKeys, d_head]
  const bool largest = block.span->weights_are_largest;
  std::fill_n(queries, block.n_rows * padded, 0.0f);
  begin_narrow(block, padded, queries);
  for_each_listed_tile(block, k32, nullptr, [&](const ListedTile& tile) HWY_ATTR {
    std::fill_n(tile_sums, kTileKeys + lanes, 0.0f);
    for (size_t r = 0; r < block.n_rows; ++r) {
      const float slope = slope_of(block, r);
      const SeenListed seen = seen_by(block, r, tile.positions);
      const VF base = hn::Set(d, finite_or_0(max[r])), factor = hn::Set(d, inverse_or_0(sum[r]));
      const float* const q = queries + r * padded;
      Lines none;
      dot_keys<1>(&q, tile.k, tile.n_keys, d_head, &scores, none, 0);
      for (size_t j = tile.n_keys; j % lanes != 0; ++j) scores[j] = kLowest;
      for (size_t j = 0; j < tile.n_keys; j += lanes) {
        const VF s = shown_scores(d, *block.params, slope, seen, block.params->soft_cap > 0 || slope != 0, scores, j,
                                  tile.n_keys);
        const VF weight = hn::Mul(exp(d, hn::Sub(s, base)), factor), before = hn::LoadU(d, tile_sums + j);
        hn::StoreU(largest ? hn::Max(weight, before) : hn::Add(weight, before), d, tile_sums + j);
        if (distances) hn::StoreU(weight, d, scores + j);
      }
      if (distances) add_by_distance(block, r, tile.positions, tile.n_keys, scores, 1, distances);
    }
    for (size_t j = 0; j < tile.n_keys; ++j) add_weight(largest, tile_sums[j], weights[tile.slots[j]]);
  });
}

template <bool kShaped>
HWY_INLINE void key_weights_wide(const AttentionBlock& block, const float* max, const float* sum, float* weights,
                                 float* distances, float* scratch) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  const size_t lanes = hn::Lanes(d), width = 2 * lanes, d_head = block.span->kv.d_head;
  const bool largest = block.span->weights_are_largest;
  WideState s = wide_state(scratch, d_head);
  begin_wide(block, s);
  for (size_t lane = 0; lane < width; ++lane) {  // lanes without a row weigh nothing
    s.max[lane] = finite_or_0(max[std::min(lane, block.n_rows - 1)]);
    s.sum[lane] = lane < block.n_rows ? inverse_or_0(sum[lane]) : 0.0f;
  }
  for_each_listed_tile(block, s.k, nullptr, [&](const ListedTile& tile) HWY_ATTR {
    product<false>(tile.k, tile.n_keys, d_head, d_head, 1, s.q, s.scores, nullptr);
    for (size_t j = 0; j < tile.n_keys; ++j) {
      VF total = hn::Zero(d), most = total;
      for (size_t half = 0; half < width; half += lanes) {
        const VF score = shown_score<kShaped, true>(
            d, hn::LoadU(d, s.scores + j * width + half), hn::Set(di, tile.positions[j]), hn::LoadU(di, s.pos + half),
            hn::LoadU(di, s.first + half), block.params->soft_cap, hn::LoadU(d, s.slope + half));
        const VF weight = hn::Mul(exp(d, hn::Sub(score, hn::LoadU(d, s.max + half))), hn::LoadU(d, s.sum + half));
        total = hn::Add(total, weight);
        most = hn::Max(most, weight);
        if (distances) hn::StoreU(weight, d, s.scores + j * width + half);
      }
      add_weight(largest, hn::GetLane(largest ? hn::MaxOfLanes(d, most) : hn::SumOfLanes(d, total)),
                 weights[tile.slots[j]]);
    }
    for (size_t r = 0; distances && r < block.n_rows; ++r)
      add_by_distance(block, r, tile.positions, tile.n_keys, s.scores + r, width, distances);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
