// Strips of quantised formats in registers: a block's codes, a group's scales. formats/strip_shape.h describes them.
#if defined(HUNCH_KERNELS_STRIPS_STRIP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_STRIPS_STRIP_INL_H_
#undef HUNCH_KERNELS_STRIPS_STRIP_INL_H_
#else
#define HUNCH_KERNELS_STRIPS_STRIP_INL_H_
#endif
#include <cstddef>
#include <cstdint>

#include "formats/strip_shape.h"
#include "hwy/highway.h"
#include "kernels/dot_int8-inl.h"
#include "kernels/promote_f16-inl.h"

#if HUNCH_INT8_SIMD
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace strip {
namespace hn = hwy::HWY_NAMESPACE;

using D32 = hn::CappedTag<int32_t, kStripRows>;
using DF = hn::RebindToFloat<D32>;
using DU8 = hn::Repartition<uint8_t, D32>;
using D8 = hn::Repartition<int8_t, D32>;
using V32 = hn::Vec<D32>;
using VF = hn::Vec<DF>;
using VU8 = hn::Vec<DU8>;
constexpr size_t kLanes = hn::MaxLanes(D32());   // rows of a register
constexpr size_t kSlices = kStripRows / kLanes;  // registers of a strip's line
constexpr size_t kSliceBytes = 4 * kLanes;       // of a line
static_assert(kSlices * kLanes == kStripRows);

// Each byte shifted, and what is left of it.
template <int kBits>
HWY_INLINE VU8 LeftMasked(VU8 v, uint8_t mask) {
  const hn::Repartition<uint16_t, DU8> d16;
  return hn::And(hn::BitCast(DU8(), hn::ShiftLeft<kBits>(hn::BitCast(d16, v))), hn::Set(DU8(), mask));
}
template <int kBits>
HWY_INLINE VU8 RightMasked(VU8 v, uint8_t mask) {
  const hn::Repartition<uint16_t, DU8> d16;
  return hn::And(hn::BitCast(DU8(), hn::ShiftRight<kBits>(hn::BitCast(d16, v))), hn::Set(DU8(), mask));
}
HWY_INLINE VU8 Line(const std::byte* block, size_t line) {
  return hn::LoadU(DU8(), reinterpret_cast<const uint8_t*>(block) + 64 * line);
}

// u[k] = the codes of columns 4 k .. 4 k + 3 of a block, of one slice: `block` points at the slice.
template <size_t kBits>
HWY_INLINE void Codes(const std::byte* block, VU8 (&u)[8]) {
  if constexpr (kBits == 8) {
    for (size_t k = 0; k < 8; ++k) u[k] = Line(block, k);
    return;
  } else {
    const VU8 low = hn::Set(DU8(), uint8_t(15));
    for (size_t k = 0; k < 4; ++k) {
      const VU8 both = Line(block, k);
      u[k] = hn::And(both, low);
      u[k + 4] = RightMasked<4>(both, 15);
    }
    if constexpr (kBits == 5) {
      const VU8 high = Line(block, 4);
      u[0] = hn::Or(u[0], LeftMasked<4>(high, 16));
      u[1] = hn::Or(u[1], LeftMasked<3>(high, 16));
      u[2] = hn::Or(u[2], LeftMasked<2>(high, 16));
      u[3] = hn::Or(u[3], LeftMasked<1>(high, 16));
      u[4] = hn::Or(u[4], hn::And(high, hn::Set(DU8(), uint8_t(16))));
      u[5] = hn::Or(u[5], RightMasked<1>(high, 16));
      u[6] = hn::Or(u[6], RightMasked<2>(high, 16));
      u[7] = hn::Or(u[7], RightMasked<3>(high, 16));
    }
    if constexpr (kBits == 6) {
      for (size_t half = 0; half < 2; ++half) {
        const VU8 high = Line(block, 4 + half);
        u[4 * half] = hn::Or(u[4 * half], LeftMasked<4>(high, 48));
        u[4 * half + 1] = hn::Or(u[4 * half + 1], LeftMasked<2>(high, 48));
        u[4 * half + 2] = hn::Or(u[4 * half + 2], hn::And(high, hn::Set(DU8(), uint8_t(48))));
        u[4 * half + 3] = hn::Or(u[4 * half + 3], RightMasked<2>(high, 48));
      }
    }
  }
}

HWY_INLINE VF Halves(const std::byte* p) {
  const hn::Rebind<hwy::float16_t, DF> d16;
  return PromoteF16(DF(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
}
template <class T>  // of 8 bits
HWY_INLINE VF Integers(const T* p) {
  return hn::ConvertTo(DF(), hn::PromoteTo(D32(), hn::LoadU(hn::Rebind<T, D32>(), p)));
}

// By format: kNSub, the sub-blocks of 32 columns, and the scales of a group, of which
// Read(head) takes hold: w = scale * (code - offset) - min.
//   Scale(i, v)  of rows v .. v + kLanes in sub-block i of the group
//   Min(b, v)    in block b
template <class F>
struct StripScales;

template <bool kMin>
struct ScalesOfBlocks {
  static constexpr size_t kNSub = 1;
  const std::byte* head;
  HWY_INLINE void Read(const std::byte* at) { head = at; }
  HWY_INLINE VF Scale(size_t i, size_t v) const { return Halves(head + 32 * i + 2 * v); }
  HWY_INLINE VF Min(size_t b, size_t v) const { return hn::Neg(Halves(head + 64 + 32 * b + 2 * v)); }  // it is added
};
template <>
struct StripScales<format::Q8_0> : ScalesOfBlocks<false> {};
template <>
struct StripScales<format::Q4_0> : ScalesOfBlocks<false> {};
template <>
struct StripScales<format::Q4_1> : ScalesOfBlocks<true> {};

struct SixBitScales {
  static constexpr size_t kNSub = 1;
  alignas(64) uint8_t scale[8 * kStripRows], min[8 * kStripRows];
  const std::byte* head;
  HWY_INLINE void Read(const std::byte* at) {
    head = at;
    const VU8 low = hn::Set(DU8(), uint8_t(15)), upper = hn::Set(DU8(), uint8_t(48));
    for (size_t i = 0; i < 64; i += kSliceBytes) {
      const VU8 first = Line(head + 64 + i, 0), second = Line(head + 64 + i, 1), top = Line(head + 64 + i, 2);
      hn::Store(hn::Or(hn::And(first, low), LeftMasked<4>(top, 48)), DU8(), scale + i);
      hn::Store(hn::Or(RightMasked<4>(first, 15), LeftMasked<2>(top, 48)), DU8(), min + i);
      hn::Store(hn::Or(hn::And(second, low), hn::And(top, upper)), DU8(), scale + 64 + i);
      hn::Store(hn::Or(RightMasked<4>(second, 15), RightMasked<2>(top, 48)), DU8(), min + 64 + i);
    }
  }
  HWY_INLINE VF Scale(size_t i, size_t v) const {
    return hn::Mul(Halves(head + 2 * v), Integers(scale + i * kStripRows + v));
  }
  HWY_INLINE VF Min(size_t b, size_t v) const {
    return hn::Mul(Halves(head + 32 + 2 * v), Integers(min + b * kStripRows + v));
  }
};
template <>
struct StripScales<format::Q4_K> : SixBitScales {};
template <>
struct StripScales<format::Q5_K> : SixBitScales {};

template <>
struct StripScales<format::Q6_K> {
  static constexpr size_t kNSub = 2;
  const std::byte* head;
  HWY_INLINE void Read(const std::byte* at) { head = at; }
  HWY_INLINE VF Scale(size_t i, size_t v) const {
    return hn::Mul(Halves(head + 256 + 2 * v), Integers(reinterpret_cast<const int8_t*>(head) + i * kStripRows + v));
  }
  HWY_INLINE VF Min(size_t, size_t) const { return hn::Zero(DF()); }
};

}  // namespace strip
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_INT8_SIMD
#endif
