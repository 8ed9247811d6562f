// Strips of quantised formats in registers: a block's codes, a group's scales. formats/strip_shape.h describes them.
#if defined(HUNCH_KERNELS_STRIPS_STRIP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_STRIPS_STRIP_INL_H_
#undef HUNCH_KERNELS_STRIPS_STRIP_INL_H_
#else
#define HUNCH_KERNELS_STRIPS_STRIP_INL_H_
#endif
#include <cstddef>
#include <cstdint>

#include "formats/code_book.h"
#include "formats/strip_shape.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/dot_int8-inl.h"
#include "kernels/dot_targets.h"
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
// Bit kFrom of each byte as bit kTo, beside others.
template <int kFrom, int kTo>
HWY_INLINE VU8 ShiftBit(VU8 v) {
  const hn::Repartition<uint16_t, DU8> d16;
  if constexpr (kFrom < kTo) {
    return hn::BitCast(DU8(), hn::ShiftLeft<kTo - kFrom>(hn::BitCast(d16, v)));
  } else if constexpr (kFrom > kTo) {
    return hn::BitCast(DU8(), hn::ShiftRight<kFrom - kTo>(hn::BitCast(d16, v)));
  } else {
    return v;
  }
}
// The same, alone.
template <int kFrom, int kTo>
HWY_INLINE VU8 MoveBit(VU8 v) {
  return hn::And(ShiftBit<kFrom, kTo>(v), hn::Set(DU8(), uint8_t(1 << kTo)));
}
// Adds bit k of each byte of `line` to u[k] as bit kTo.
template <int kTo>
HWY_INLINE void AddBits(VU8 line, VU8 (&u)[8]) {
  const VU8 bit = hn::Set(DU8(), uint8_t(1 << kTo));
  u[0] = hn::OrAnd(u[0], ShiftBit<0, kTo>(line), bit);
  u[1] = hn::OrAnd(u[1], ShiftBit<1, kTo>(line), bit);
  u[2] = hn::OrAnd(u[2], ShiftBit<2, kTo>(line), bit);
  u[3] = hn::OrAnd(u[3], ShiftBit<3, kTo>(line), bit);
  u[4] = hn::OrAnd(u[4], ShiftBit<4, kTo>(line), bit);
  u[5] = hn::OrAnd(u[5], ShiftBit<5, kTo>(line), bit);
  u[6] = hn::OrAnd(u[6], ShiftBit<6, kTo>(line), bit);
  u[7] = hn::OrAnd(u[7], ShiftBit<7, kTo>(line), bit);
}

// The values of a code book plus the offset that makes them unsigned, and back.
template <CodeBook kBook>
struct Values {
  static constexpr int kOffset = kBook == CodeBook::kIq4 ? 128 : 16;
  alignas(16) uint8_t of[16];
  uint8_t code_of[256] = {};
  constexpr Values() : of() {
    for (int i = 15; i >= 0; --i) {  // the first of two codes of 0
      of[i] = uint8_t((kBook == CodeBook::kIq4 ? Iq4Values::kValues[i] : E2m1Values::kValues[i]) + kOffset);
      code_of[of[i]] = uint8_t(i);
    }
  }
};
template <CodeBook kBook>
inline constexpr Values<kBook> kValuesOf;

HWY_INLINE VU8 Line(const std::byte* block, size_t line) {
  return hn::LoadU(DU8(), reinterpret_cast<const uint8_t*>(block) + 64 * line);
}

// u[k] = the codes of columns 4 k .. 4 k + 3 of a block, of one slice: `block` points at the slice. What they are
// looked up as, where there is a book.
template <StripBits kBits>
HWY_INLINE void Codes(const std::byte* block, VU8 (&u)[8]) {
  if constexpr (kBits == 8) {
    for (size_t k = 0; k < 8; ++k) u[k] = Line(block, k);
    return;
  } else if constexpr (kBits == 2 || kBits == 3) {
    for (size_t k = 0; k < 2; ++k) {
      const VU8 four = Line(block, k);
      u[k] = hn::And(four, hn::Set(DU8(), uint8_t(3)));
      u[k + 2] = RightMasked<2>(four, 3);
      u[k + 4] = RightMasked<4>(four, 3);
      u[k + 6] = RightMasked<6>(four, 3);
    }
    if constexpr (kBits == 3) AddBits<2>(Line(block, 2), u);
  } else {
    const VU8 low = hn::Set(DU8(), uint8_t(15));
    for (size_t k = 0; k < 4; ++k) {
      const VU8 both = Line(block, k);
      u[k] = hn::And(both, low);
      u[k + 4] = RightMasked<4>(both, 15);
    }
    if constexpr (kBits.book != CodeBook::kNone) {
      static_assert(kBits == 4);
      const VU8 book = hn::LoadDup128(DU8(), kValuesOf<kBits.book>.of);
      for (size_t k = 0; k < 8; ++k) u[k] = hn::TableLookupBytes(book, u[k]);
    }
    if constexpr (kBits == 5) AddBits<4>(Line(block, 4), u);
    if constexpr (kBits == 6) {
      const VU8 bits = hn::Set(DU8(), uint8_t(48));
      for (size_t half = 0; half < 2; ++half) {
        const VU8 high = Line(block, 4 + half);
        u[4 * half] = hn::OrAnd(u[4 * half], ShiftBit<0, 4>(high), bits);
        u[4 * half + 1] = hn::OrAnd(u[4 * half + 1], ShiftBit<2, 4>(high), bits);
        u[4 * half + 2] = hn::OrAnd(u[4 * half + 2], high, bits);
        u[4 * half + 3] = hn::OrAnd(u[4 * half + 3], ShiftBit<6, 4>(high), bits);
      }
    }
  }
}

// Asks for the lines of the n bytes that lie ahead of those at p.
HWY_INLINE void AskAhead(StripPrefetch ahead, const std::byte* p, size_t n) {
  if (ahead.first_cache)
    for (size_t line = 0; line < n; line += 64) hwy::Prefetch(p + ahead.first_cache + line);
  if (ahead.second_cache)
    for (size_t line = 0; line < n; line += 64) __builtin_prefetch(p + ahead.second_cache + line, 0, 2);
}

HWY_INLINE VF Halves(const std::byte* p) {
  const hn::Rebind<hwy::float16_t, DF> d16;
  return PromoteF16(DF(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
}
template <class T>  // of 8 bits
HWY_INLINE VF Integers(const T* p) {
  return hn::ConvertTo(DF(), hn::PromoteTo(D32(), hn::LoadU(hn::Rebind<T, D32>(), p)));
}

// f16 numbers of the sixteen rows as f32, in registers for a group.
struct RowHalves {
  VF of[kSlices];
  HWY_INLINE void Read(const std::byte* p) {
    HWY_UNROLL(4) for (size_t v = 0; v < kSlices; ++v) of[v] = Halves(p + 2 * v * kLanes);
  }
  HWY_INLINE VF operator[](size_t v) const { return of[v / kLanes]; }  // of rows v .. v + kLanes
};

// By format: kNSub, the sub-blocks of 32 columns, and the scales of a group, of which
// Read(head) takes hold: w = scale * (code - offset) - min.
//   Scale(i, v)  of rows v .. v + kLanes in sub-block i of the group
//   Min(i, v)    the same; where the format has minima
template <class F>
struct StripScales;

template <bool kMin>
struct ScalesOfBlocks {
  static constexpr size_t kNSub = 1;
  const std::byte* head;
  HWY_INLINE void Read(const std::byte* at) { head = at; }
  HWY_INLINE VF Scale(size_t i, size_t v) const { return Halves(head + 32 * i + 2 * v); }
  HWY_INLINE VF Min(size_t i, size_t v) const { return hn::Neg(Halves(head + 64 + 32 * i + 2 * v)); }  // it is added
};
template <>
struct StripScales<format::Q8_0> : ScalesOfBlocks<false> {};
template <>
struct StripScales<format::Q4_0> : ScalesOfBlocks<false> {};
template <>
struct StripScales<format::Q4_1> : ScalesOfBlocks<true> {};
template <>
struct StripScales<format::Q5_0> : ScalesOfBlocks<false> {};
template <>
struct StripScales<format::Q5_1> : ScalesOfBlocks<true> {};
template <>
struct StripScales<format::IQ4_NL> : ScalesOfBlocks<false> {};

template <>
struct StripScales<format::MXFP4> {
  static constexpr size_t kNSub = 1;
  const std::byte* head;
  HWY_INLINE void Read(const std::byte* at) { head = at; }
  HWY_INLINE VF Scale(size_t i, size_t v) const {  // half_power()
    const hn::Rebind<uint8_t, D32> d8;
    const V32 e = hn::PromoteTo(D32(), hn::LoadU(d8, reinterpret_cast<const uint8_t*>(head) + i * kStripRows + v));
    const V32 one = hn::Set(D32(), 1), least = hn::Set(D32(), 0x00200000);
    const V32 subnormal = hn::IfThenElse(hn::Eq(e, one), hn::Add(least, least), least);
    const V32 normal = hn::ShiftLeft<23>(hn::Sub(e, one));
    return hn::BitCast(DF(), hn::IfThenElse(hn::Gt(e, one), normal, subnormal));
  }
};

template <>
struct StripScales<format::I8_16> {
  static constexpr size_t kNSub = 2;
  const std::byte* head;
  HWY_INLINE void Read(const std::byte* at) { head = at; }
  HWY_INLINE VF Scale(size_t i, size_t v) const {
    return hn::LoadU(DF(), reinterpret_cast<const float*>(head) + i * kStripRows + v);
  }
};

struct SixBitScales {
  static constexpr size_t kNSub = 1;
  alignas(64) uint8_t scale[8 * kStripRows], min[8 * kStripRows];
  RowHalves d, d_min;
  HWY_INLINE void Read(const std::byte* head) {
    d.Read(head);
    d_min.Read(head + 32);
    const VU8 low = hn::Set(DU8(), uint8_t(15)), upper = hn::Set(DU8(), uint8_t(48));
    for (size_t i = 0; i < 64; i += kSliceBytes) {
      const VU8 first = Line(head + 64 + i, 0), second = Line(head + 64 + i, 1), top = Line(head + 64 + i, 2);
      hn::Store(hn::Or(hn::And(first, low), LeftMasked<4>(top, 48)), DU8(), scale + i);
      hn::Store(hn::Or(RightMasked<4>(first, 15), LeftMasked<2>(top, 48)), DU8(), min + i);
      hn::Store(hn::Or(hn::And(second, low), hn::And(top, upper)), DU8(), scale + 64 + i);
      hn::Store(hn::Or(RightMasked<4>(second, 15), RightMasked<2>(top, 48)), DU8(), min + 64 + i);
    }
  }
  HWY_INLINE VF Scale(size_t i, size_t v) const { return hn::Mul(d[v], Integers(scale + i * kStripRows + v)); }
  HWY_INLINE VF Min(size_t i, size_t v) const { return hn::Mul(d_min[v], Integers(min + i * kStripRows + v)); }
};
template <>
struct StripScales<format::Q4_K> : SixBitScales {};
template <>
struct StripScales<format::Q5_K> : SixBitScales {};

// kSubs scales of 8 bits, then d.
template <size_t kSubs>
struct SignedScales {
  static constexpr size_t kNSub = kSubs / 8;
  const int8_t* scale;
  RowHalves d;
  HWY_INLINE void Read(const std::byte* head) {
    scale = reinterpret_cast<const int8_t*>(head);
    d.Read(head + kSubs * kStripRows);
  }
  HWY_INLINE VF Scale(size_t i, size_t v) const { return hn::Mul(d[v], Integers(scale + i * kStripRows + v)); }
};
template <>
struct StripScales<format::Q6_K> : SignedScales<16> {};
template <>
struct StripScales<format::Q3_K> : SignedScales<16> {};
template <>
struct StripScales<format::IQ4_XS> : SignedScales<8> {};

template <>
struct StripScales<format::Q2_K> {
  static constexpr size_t kNSub = 2;
  const std::byte* both;  // scales in the lower, minima in the upper half of a byte
  RowHalves d, d_min;
  HWY_INLINE void Read(const std::byte* head) {
    d.Read(head);
    d_min.Read(head + 32);
    both = head + 64;
  }
  HWY_INLINE VF Scale(size_t i, size_t v) const {
    return hn::Mul(d[v], hn::ConvertTo(DF(), hn::And(Both(i, v), hn::Set(D32(), 15))));
  }
  HWY_INLINE VF Min(size_t i, size_t v) const {
    return hn::Mul(d_min[v], hn::ConvertTo(DF(), hn::ShiftRight<4>(Both(i, v))));
  }

 private:
  HWY_INLINE V32 Both(size_t i, size_t v) const {
    const hn::Rebind<uint8_t, D32> d8;
    return hn::PromoteTo(D32(), hn::LoadU(d8, reinterpret_cast<const uint8_t*>(both) + i * kStripRows + v));
  }
};

}  // namespace strip
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_INT8_SIMD
#endif
