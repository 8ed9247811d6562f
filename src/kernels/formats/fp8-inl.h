// FP8 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_FP8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_FP8_INL_H_
#undef HUNCH_KERNELS_FORMATS_FP8_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_FP8_INL_H_
#endif
#include <cstddef>

#include "formats/fp8.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/promote_f16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// E4M3's exponent and mantissa, moved to the places of f16's, are the number by 2^-8: subnormal ones too.
constexpr float kE4m3AsHalf = 256;
// Lanes(d16) numbers of E4M3, divided by kE4m3AsHalf: the bits of f16.
template <class D16>
HWY_INLINE hn::Vec<D16> E4m3Halves(D16 d16, const int8_t* q) {
  const hn::Rebind<int8_t, D16> d8;
  const auto signs_above = hn::ShiftLeft<7>(hn::PromoteTo(d16, hn::LoadU(d8, q)));
  return hn::And(signs_above, hn::Set(d16, int16_t(-0x4080)));  // all but bit 14 and the lowest seven
}
// The same as f32.
template <class D>
HWY_INLINE hn::Vec<D> E4m3Floats(D d, const int8_t* q) {
  const hn::Rebind<hwy::float16_t, D> half;
  return PromoteF16(d, hn::BitCast(half, E4m3Halves(hn::Rebind<int16_t, D>(), q)));
}

template <>
struct Simd<format::FP8> : FloatBlocks<format::FP8> {
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const std::byte* row, size_t i) {
    const std::byte* block = BlockOf(row, i);
    const auto* q = reinterpret_cast<const int8_t*>(block + offsetof(format::FP8::Block, q));
    return hn::Mul(E4m3Floats(d, q + i % 64), hn::Set(d, ScaleOf(block) * kE4m3AsHalf));
  }
  static float One(const std::byte* row, size_t i) {
    const std::byte* block = BlockOf(row, i);
    return e4m3_to_f32(uint8_t(block[offsetof(format::FP8::Block, q) + i % 64])) * ScaleOf(block);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
