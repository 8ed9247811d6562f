// Strips of formats whose numbers are floats (NF4, FP4, FP8, I8_64) in registers, sixteen rows a column.
// formats/strip_shape.h describes them.
#if defined(HUNCH_KERNELS_STRIPS_FLOATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_STRIPS_FLOATS_INL_H_
#undef HUNCH_KERNELS_STRIPS_FLOATS_INL_H_
#else
#define HUNCH_KERNELS_STRIPS_FLOATS_INL_H_
#endif
#include <cstddef>
#include <cstdint>

#include "formats/strip_shape.h"
#include "hwy/highway.h"
#include "kernels/formats/all-inl.h"
#include "kernels/strips/strip-inl.h"

#if HUNCH_INT8_SIMD
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace strip {

// By format, of its lines of 64 bytes:
//   kColumns           of a line
//   Column(line, i)    which column of the group the i-th of a line is
//   Load(line, v, w)   w[i] = the i-th column of rows v .. v + kLanes, without the scale
//   Factor(head, v)    their scales
template <class F>
struct FloatLines;

HWY_INLINE VF FactorAt(const std::byte* head, size_t v) {
  return hn::LoadU(DF(), reinterpret_cast<const float*>(head) + v);
}

template <class F>
struct FourBitLines {
  static constexpr size_t kColumns = 8;
  static constexpr size_t Column(size_t line, size_t i) { return line / 4 * 32 + i / 4 * 16 + line % 4 * 4 + i % 4; }
  static HWY_INLINE VF Factor(const std::byte* head, size_t v) { return FactorAt(head, v); }
  static HWY_INLINE void Load(const std::byte* line, size_t v, VF (&w)[kColumns]) {
    const V32 codes = hn::LoadU(D32(), reinterpret_cast<const int32_t*>(line) + v);
    w[0] = Value(codes);
    w[1] = Value(hn::ShiftRight<8>(codes));
    w[2] = Value(hn::ShiftRight<16>(codes));
    w[3] = Value(hn::ShiftRight<24>(codes));
    w[4] = Value(hn::ShiftRight<4>(codes));
    w[5] = Value(hn::ShiftRight<12>(codes));
    w[6] = Value(hn::ShiftRight<20>(codes));
    w[7] = Value(hn::ShiftRight<28>(codes));
  }

 private:
  // Of the lowest four bits.
  static HWY_INLINE VF Value(V32 codes) {
#if HUNCH_AVX512
    return VF{_mm512_permutexvar_ps(codes.raw, hn::LoadU(DF(), F::kValues.data()).raw)};
#else
    return LookUp16(DF(), F::kValues.data(), hn::And(codes, hn::Set(D32(), 15)));
#endif
  }
};
template <>
struct FloatLines<format::NF4> : FourBitLines<format::NF4> {};
template <>
struct FloatLines<format::FP4> : FourBitLines<format::FP4> {};

struct EightBitLines {
  static constexpr size_t kColumns = 4;
  static constexpr size_t Column(size_t line, size_t i) { return 4 * line + i; }
};
template <>
struct FloatLines<format::FP8> : EightBitLines {
  static HWY_INLINE VF Factor(const std::byte* head, size_t v) {
    return hn::Mul(FactorAt(head, v), hn::Set(DF(), kE4m3AsHalf));
  }
  static HWY_INLINE void Load(const std::byte* line, size_t v, VF (&w)[kColumns]) {
    const auto* q = reinterpret_cast<const int8_t*>(line) + v;
#if HUNCH_AVX512  // two columns of sixteen rows are one register of f16
    const hn::Full512<int16_t> d16;
    const hn::Full256<hwy::float16_t> half;
    for (size_t i = 0; i < kColumns; i += 2) {
      const auto both = hn::BitCast(hn::Full512<hwy::float16_t>(), E4m3Halves(d16, q + i * kStripRows));
      w[i] = PromoteF16(DF(), hn::LowerHalf(half, both));
      w[i + 1] = PromoteF16(DF(), hn::UpperHalf(half, both));
    }
#else
    for (size_t i = 0; i < kColumns; ++i) w[i] = E4m3Floats(DF(), q + i * kStripRows);
#endif
  }
};
template <>
struct FloatLines<format::I8_64> : EightBitLines {
  static HWY_INLINE VF Factor(const std::byte* head, size_t v) {
    return hn::Mul(FactorAt(head, v), hn::Set(DF(), format::I8_64::kBy127));
  }
  static HWY_INLINE void Load(const std::byte* line, size_t v, VF (&w)[kColumns]) {
    const auto* q = reinterpret_cast<const int8_t*>(line) + v;
    for (size_t i = 0; i < kColumns; ++i) w[i] = Integers(q + i * kStripRows);
  }
};

}  // namespace strip
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_INT8_SIMD
#endif
