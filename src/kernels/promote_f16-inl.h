// f32 of f16. Included inside the kernels, once per target.
#if defined(HUNCH_KERNELS_PROMOTE_F16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_PROMOTE_F16_INL_H_
#undef HUNCH_KERNELS_PROMOTE_F16_INL_H_
#else
#define HUNCH_KERNELS_PROMOTE_F16_INL_H_
#endif
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Exact for every f16, infinities, NaN and subnormals included, on every target. Where the CPU has no such instruction
// (x86 before AVX2, the scalar target) Highway 1.0.3 emulates it and takes infinity for 65536 and NaN for a number: a
// broken weight would pass unseen. There, an exponent of all ones is made one of f32.
template <class D, class V>
HWY_INLINE hn::Vec<D> PromoteF16(D d, V halves) {
#if (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2) || HWY_ARCH_ARM_A64
  return hn::PromoteTo(d, halves);
#else
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> du16;
  const auto exponent = hn::And(hn::PromoteTo(du, hn::BitCast(du16, halves)), hn::Set(du, 0x7c00u));
  const auto ones = hn::IfThenElseZero(hn::Eq(exponent, hn::Set(du, 0x7c00u)), hn::Set(du, 0x7f800000u));
  return hn::BitCast(d, hn::Or(hn::BitCast(du, hn::PromoteTo(d, halves)), ones));
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
