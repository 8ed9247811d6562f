#include "kernels/attention_block.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_block.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/attention_key_weights-inl.h"
#include "kernels/attention_narrow-inl.h"
#include "kernels/attention_tiles-inl.h"
#include "kernels/attention_values-inl.h"
#include "kernels/attention_wide-inl.h"
#include "kernels/gemm_tiles.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// The wide way costs the same for one row as for all: it pays from about half the lanes on.
HWY_INLINE bool is_narrow(const AttentionBlock& block) {
  const size_t lanes = hn::Lanes(DF());
  return block.n_rows * 2 <= lanes && block.span->kv.d_head >= lanes;
}

template <class T>
HWY_INLINE void attend(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial,
                       float* scratch) {
  return is_narrow(block) ? attend_narrow<T>(block, out, partial, scratch)
                          : attend_wide<T>(block, out, partial, scratch);
}

void AttendBlock(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch) {
#if HUNCH_TILES
  if (block.n_rows > 2 * hn::Lanes(DF())) return tiles::AttendTiles(block, out, partial, scratch);
#endif
  if (const KvGroups& groups = block.span->kv.groups;
      groups.bits && !block.slots && !block.positions && is_narrow(block))
    return groups.bits == 2 ? attend_narrow<InGroups<2>>(block, out, partial, scratch)
                            : attend_narrow<InGroups<4>>(block, out, partial, scratch);
  if (block.is_listed) return attend<void>(block, out, partial, scratch);
  if (block.span->kv.dtype == DType::kF16) return attend<f16>(block, out, partial, scratch);
  attend<float>(block, out, partial, scratch);
}

void AddKeyWeights(const AttentionBlock& block, const float* max, const float* sum, float* weights, float* distances,
                   float* scratch) {
  if (is_narrow(block)) return key_weights_narrow(block, max, sum, weights, distances, scratch);
  is_shaped(*block.params) ? key_weights_wide<true>(block, max, sum, weights, distances, scratch)
                           : key_weights_wide<false>(block, max, sum, weights, distances, scratch);
}

size_t AttendValues(const AttentionBlock& block, MatView<float> out, const PartialAttention& stats,
                    const ValueMemory& memory, float* scratch) {
  return attend_few_values(block, out, stats, memory, scratch);
}

size_t BlockRows() { return 2 * hn::Lanes(DF()); }
size_t BlockScratch(size_t d_head) {
  const size_t width = BlockRows();
  return 2 * d_head * width + kTileKeys * width + 2 * kTileKeys * d_head + 8 * width;
}

size_t TileScratch([[maybe_unused]] size_t d_head) {
#if HUNCH_TILES
  tiles::TilesState s;
  tiles::Scratch scratch{nullptr};
  tiles::lay_out(s, d_head, scratch);
  return scratch.n_floats;
#else
  return 0;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(AttendBlock);
HWY_EXPORT(AddKeyWeights);
HWY_EXPORT(AttendValues);
HWY_EXPORT(BlockRows);
HWY_EXPORT(BlockScratch);
HWY_EXPORT(TileScratch);

size_t attention_block_rows() { return HWY_DYNAMIC_DISPATCH(BlockRows)(); }
size_t attention_block_scratch(size_t d_head) { return HWY_DYNAMIC_DISPATCH(BlockScratch)(d_head); }
size_t attention_tile_scratch(size_t d_head) {
  return multiplies_tiles() ? HWY_DYNAMIC_DISPATCH(TileScratch)(d_head) : 0;
}
void attend_block(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch) {
  HWY_DYNAMIC_DISPATCH(AttendBlock)(block, out, partial, scratch);
}
void add_key_weights(const AttentionBlock& block, const float* max, const float* sum, float* weights, float* distances,
                     float* scratch) {
  HWY_DYNAMIC_DISPATCH(AddKeyWeights)(block, max, sum, weights, distances, scratch);
}
size_t attend_values(const AttentionBlock& block, MatView<float> out, const PartialAttention& stats,
                     const ValueMemory& memory, float* scratch) {
  return HWY_DYNAMIC_DISPATCH(AttendValues)(block, out, stats, memory, scratch);
}

void keep_largest(std::span<float> weights, size_t n, uint32_t* order) {
  if (n >= weights.size()) return;
  std::iota(order, order + weights.size(), 0u);
  const auto by_weight = [&](uint32_t j) {
    return std::pair(std::isnan(weights[j]) ? -std::numeric_limits<float>::infinity() : -weights[j], j);
  };
  std::ranges::nth_element(order, order + n, order + weights.size(), {}, by_weight);
  for (size_t i = n; i < weights.size(); ++i) weights[order[i]] = 0;
}

}  // namespace hunch
#endif  // HWY_ONCE
