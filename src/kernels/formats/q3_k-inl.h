// Q3_K in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q3_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q3_K_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q3_K_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q3_K_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q3_k.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/sixteenths-inl.h"
#include "kernels/formats/vnni-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q3_K> : Blocks<format::Q3_K, 16> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    using Block = format::Q3_K::Block;
    alignas(32) float d[8];
    ScalesF16(blocks + offsetof(Block, d), 2, 1, d);
    uint8_t packed[12];
    int8_t scales[16];
    std::memcpy(packed, blocks + offsetof(Block, scales), 12);
    format::Q3_K::unpack_scales(packed, scales);
    for (int j = 0; j < 16; ++j) out.scale[j] = d[0] * float(scales[j]);
    const auto* high = reinterpret_cast<const uint8_t*>(blocks + offsetof(Block, high));
    for (int half = 0; half < 2; ++half) {
      const auto* low = reinterpret_cast<const uint8_t*>(blocks + offsetof(Block, low) + 32 * half);
      for (size_t l = 0; l < 32; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), low + l), h = hn::LoadU(Bytes(), high + l);
        int8_t* q = out.q + 128 * half + l;
        Store(v, h, 4 * half, q);
        Store(Right<2>(v), h, 4 * half + 1, q + 32);
        Store(Right<4>(v), h, 4 * half + 2, q + 64);
        Store(Right<6>(v), h, 4 * half + 3, q + 96);
      }
    }
  }
  // The codes of the lowest two bits of `low`, less 4 where bit `bit` of `high` is clear.
  static HWY_INLINE void Store(ByteVec low, ByteVec high, int bit, int8_t* to) {
    const ByteVec q = hn::And(low, hn::Set(Bytes(), uint8_t(3)));
    const auto clear = hn::Eq(hn::And(high, hn::Set(Bytes(), uint8_t(1 << bit))), hn::Zero(Bytes()));
    StoreBytes(hn::Sub(q, hn::IfThenElseZero(clear, hn::Set(Bytes(), uint8_t(4)))), to);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

template <>
struct Row<format::Q3_K> {
  using Packed = PackedSigned<4>;
  using Block = format::Q3_K::Block;
  static constexpr size_t kBytes = sizeof(Block);  // of the weights of one group

  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i high = Twice(w + offsetof(Block, high));
    const __m512i half0 = Twice(w + offsetof(Block, low)), half1 = Twice(w + offsetof(Block, low) + 32);
    // Bit 4 h + k of `high` belongs to quarter k of half h, as bit 2 of the code.
    const auto top = [](__m512i moved) HWY_ATTR { return _mm512_and_si512(moved, _mm512_set1_epi8(4)); };
    const __m512i u[4] = {_mm512_or_si512(TwoBits<0>(half0), top(_mm512_sllv_epi16(high, Shifts(2, 1)))),
                          _mm512_or_si512(TwoBits<2>(half0), top(_mm512_srlv_epi16(high, Shifts(0, 1)))),
                          _mm512_or_si512(TwoBits<0>(half1), top(_mm512_srlv_epi16(high, Shifts(2, 3)))),
                          _mm512_or_si512(TwoBits<2>(half1), top(_mm512_srlv_epi16(high, Shifts(4, 5))))};
    const __m512 scale = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(Scales(w + offsetof(Block, scales)))),
                                       FloatOfHalf(w + offsetof(Block, d)));
    AccumulateSigned<T>(u, scale, x, acc);
  }

 private:
  // format::Q3_K::unpack_scales()
  static HWY_INLINE __m128i Scales(const std::byte* packed) {
    int64_t low;
    int32_t high;
    std::memcpy(&low, packed, 8);
    std::memcpy(&high, packed + 8, 4);
    const __m128i nibbles =
        _mm_and_si128(_mm_srlv_epi64(_mm_set1_epi64x(low), _mm_set_epi64x(4, 0)), _mm_set1_epi8(15));
    const __m128i pairs =
        _mm_and_si128(_mm_srlv_epi32(_mm_set1_epi32(high), _mm_set_epi32(6, 4, 2, 0)), _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(nibbles, _mm_slli_epi16(pairs, 4)), _mm_set1_epi8(32));
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
