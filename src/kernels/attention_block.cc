#include "kernels/attention_block.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_block.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/attention_narrow-inl.h"
#include "kernels/attention_wide-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

template <class T>
HWY_INLINE void attend(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial,
                       float* scratch) {
  // The wide way costs the same for one row as for all: it pays from about half the lanes on.
  const size_t lanes = hn::Lanes(DF());
  const bool narrow = block.n_rows * 2 <= lanes && block.span->kv.d_head >= lanes;
  return narrow ? attend_narrow<T>(block, out, partial, scratch) : attend_wide<T>(block, out, partial, scratch);
}

void AttendBlock(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch) {
  if (block.span->kv.dtype == DType::kF16) return attend<f16>(block, out, partial, scratch);
  attend<float>(block, out, partial, scratch);
}

size_t BlockRows() { return 2 * hn::Lanes(DF()); }
size_t BlockScratch(size_t d_head) {
  const size_t width = BlockRows();
  return 2 * d_head * width + kTileKeys * width + 2 * kTileKeys * d_head + 8 * width;
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(AttendBlock);
HWY_EXPORT(BlockRows);
HWY_EXPORT(BlockScratch);

size_t attention_block_rows() { return HWY_DYNAMIC_DISPATCH(BlockRows)(); }
size_t attention_block_scratch(size_t d_head) { return HWY_DYNAMIC_DISPATCH(BlockScratch)(d_head); }
void attend_block(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch) {
  HWY_DYNAMIC_DISPATCH(AttendBlock)(block, out, partial, scratch);
}

}  // namespace hunch
#endif  // HWY_ONCE
