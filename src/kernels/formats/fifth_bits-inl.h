// The codes of five bits that Q5_0 and Q5_1 share (formats/fifth_bits.h).
#if defined(HUNCH_KERNELS_FORMATS_FIFTH_BITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_FIFTH_BITS_INL_H_
#undef HUNCH_KERNELS_FORMATS_FIFTH_BITS_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_FIFTH_BITS_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// In byte l: 16 if bit l of the bits that begin at `bits` is set; from bit `at` on.
HWY_INLINE ByteVec Fifth(const uint8_t* bits, size_t at) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(Bytes(), uint8_t((bits[at / 8] >> at % 8 & 1) << 4));
#else
  const hn::Repartition<uint64_t, Bytes> d64;
  const uint64_t each = 0x0101010101010101u;
  const auto spread =
      hn::InterleaveLower(d64, hn::Set(d64, bits[at / 8] * each), hn::Set(d64, bits[at / 8 + 1] * each));
  const auto mine = hn::BitCast(Bytes(), hn::Set(d64, uint64_t{0x8040201008040201u}));
  const auto clear = hn::Eq(hn::And(hn::BitCast(Bytes(), spread), mine), hn::Zero(Bytes()));
  return hn::IfThenZeroElse(clear, hn::Set(Bytes(), uint8_t(16)));
#endif
}

// out[0 .. 32) = the codes of a block less `offset`.
HWY_INLINE void UnpackFifth(const std::byte* high, const std::byte* pairs, uint8_t offset, int8_t* out) {
  const ByteVec less = hn::Set(Bytes(), offset);
  const auto* bits = reinterpret_cast<const uint8_t*>(high);
  for (size_t l = 0; l < 16; l += hn::Lanes(Bytes())) {
    const ByteVec v = hn::LoadU(Bytes(), reinterpret_cast<const uint8_t*>(pairs) + l);
    StoreBytes(hn::Sub(hn::Or(Low4(v), Fifth(bits, l)), less), out + l);
    StoreBytes(hn::Sub(hn::Or(High4(v), Fifth(bits, 16 + l)), less), out + 16 + l);
  }
}

#if HUNCH_AVX512
// The codes of the low and the high halves of four blocks that lie kStride bytes apart.
template <size_t kStride>
HWY_INLINE void UnpackFifth(const std::byte* high, __m512i pairs, __m512i* low_codes, __m512i* high_codes) {
  const __m512i nibble = _mm512_set1_epi8(15), sixteen = _mm512_set1_epi8(16);
  uint64_t low_bits = 0, high_bits = 0;
  for (int b = 0; b < 4; ++b) {
    uint32_t bits;
    std::memcpy(&bits, high + b * kStride, 4);
    low_bits |= uint64_t(bits & 0xffff) << 16 * b;
    high_bits |= uint64_t(bits >> 16) << 16 * b;
  }
  const __m512i low = _mm512_and_si512(pairs, nibble), other = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), nibble);
  *low_codes = _mm512_or_si512(low, _mm512_maskz_mov_epi8(low_bits, sixteen));
  *high_codes = _mm512_or_si512(other, _mm512_maskz_mov_epi8(high_bits, sixteen));
}
// The f32 of a code below 32 less kOffset: of its low four bits in `pairs`, and whether it has the fifth.
template <int kOffset>
HWY_INLINE __m512 FifthValues(__m512i pairs, uint32_t bits) {
  const __m512 table = _mm512_add_ps(_mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                     _mm512_set1_ps(float(-kOffset)));
  const __m512 value = _mm512_permutexvar_ps(pairs, table);
  return _mm512_mask_add_ps(value, __mmask16(bits), value, _mm512_set1_ps(16));
}
// Both halves of a block.
template <int kOffset>
HWY_INLINE void FifthPairs(const std::byte* high, const std::byte* pairs, __m512* value) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pairs)));
  uint32_t bits;
  std::memcpy(&bits, high, 4);
  value[0] = FifthValues<kOffset>(bytes, bits & 0xffff);
  value[1] = FifthValues<kOffset>(_mm512_srli_epi32(bytes, 4), bits >> 16);
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
