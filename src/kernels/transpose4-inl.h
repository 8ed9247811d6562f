// Four rows of 32-bit values to columns: how both GEMMs fill their panels.
#if defined(HUNCH_KERNELS_TRANSPOSE4_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_TRANSPOSE4_INL_H_
#undef HUNCH_KERNELS_TRANSPOSE4_INL_H_
#else
#define HUNCH_KERNELS_TRANSPOSE4_INL_H_
#endif
#include <cstddef>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Transposes 4 x 4 values of 32 bits: out[j * stride + i] = row i's value j.
#if HWY_TARGET != HWY_SCALAR
using Four = hn::Full128<uint32_t>;
HWY_INLINE void Transpose4x4(hn::Vec<Four> a, hn::Vec<Four> b, hn::Vec<Four> c, hn::Vec<Four> d, uint32_t* out,
                             size_t stride) {
  const Four d4;
  const hn::RepartitionToWide<Four> d2;
  const auto ab_low = hn::BitCast(d2, hn::InterleaveLower(d4, a, b));
  const auto ab_high = hn::BitCast(d2, hn::InterleaveUpper(d4, a, b));
  const auto cd_low = hn::BitCast(d2, hn::InterleaveLower(d4, c, d));
  const auto cd_high = hn::BitCast(d2, hn::InterleaveUpper(d4, c, d));
  hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, ab_low, cd_low)), d4, out);
  hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, ab_low, cd_low)), d4, out + stride);
  hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, ab_high, cd_high)), d4, out + 2 * stride);
  hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, ab_high, cd_high)), d4, out + 3 * stride);
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
