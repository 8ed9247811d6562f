// Q6_K in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q6_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q6_K_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q6_K_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q6_K_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q6_k.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/sixteenths-inl.h"
#include "kernels/formats/vnni-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q6_K> : Blocks<format::Q6_K, 16> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    alignas(32) float d[8];
    ScalesF16(blocks + offsetof(format::Q6_K::Block, d), 2, 1, d);
    int8_t scales[16];
    std::memcpy(scales, blocks + offsetof(format::Q6_K::Block, scales), 16);
    for (int j = 0; j < 16; ++j) out.scale[j] = d[0] * float(scales[j]);
    const ByteVec two = hn::Set(Bytes(), uint8_t(3)), offset = hn::Set(Bytes(), uint8_t(32));
    // Quarters 0..3 of a half take bits 0-1, 2-3, 4-5 and 6-7 of its upper bits.
    const auto store = [&](ByteVec low, ByteVec pair, int8_t* to) HWY_ATTR {
      const ByteVec high = hn::And(pair, two);
#if HWY_TARGET == HWY_SCALAR
      const ByteVec shifted = hn::ShiftLeft<4>(high);
#else
      const hn::Repartition<uint16_t, Bytes> d16;
      const ByteVec shifted = hn::BitCast(Bytes(), hn::ShiftLeft<4>(hn::BitCast(d16, high)));
#endif
      StoreBytes(hn::Sub(hn::Or(low, shifted), offset), to);
    };
    for (size_t half = 0; half < 2; ++half) {
      const auto* low = reinterpret_cast<const uint8_t*>(blocks + 64 * half);
      const auto* high = reinterpret_cast<const uint8_t*>(blocks + offsetof(format::Q6_K::Block, high) + 32 * half);
      int8_t* q = out.q + 128 * half;
      for (size_t l = 0; l < 32; l += hn::Lanes(Bytes())) {
        const ByteVec v0 = hn::LoadU(Bytes(), low + l), v1 = hn::LoadU(Bytes(), low + 32 + l);
        const ByteVec h = hn::LoadU(Bytes(), high + l), h4 = High4(h);
        store(Low4(v0), h, q + l);
        store(Low4(v1), Right<2>(h), q + 32 + l);
        store(High4(v0), h4, q + 64 + l);
        store(High4(v1), Right<2>(h4), q + 96 + l);
      }
    }
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
struct Row<format::Q6_K> {
  using Packed = PackedSigned<32>;
  static constexpr size_t kBytes = sizeof(format::Q6_K::Block);  // of the weights of one group
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30);
    __m512i u[4];
    for (int half = 0; half < 2; ++half) {
      const __m512i low = Load512(w + 64 * half);
      const __m512i high =
          _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 128 + 32 * half)));
      // Bits 2k, 2k + 1 of `high` belong to quarter k; the lower half of u[0] is quarter 0, and so on.
      const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
      const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
      const __m512i top01 = _mm512_and_si512(_mm512_sllv_epi16(high, left), top);
      const __m512i top23 = _mm512_and_si512(_mm512_srlv_epi16(high, right), top);
      u[2 * half] = _mm512_or_si512(_mm512_and_si512(low, nibble), top01);
      u[2 * half + 1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(low, 4), nibble), top23);
    }
    uint16_t d;
    std::memcpy(&d, w + 208, 2);
    const __m512 weight_scale = _mm512_mul_ps(
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 192)))),
        _mm512_cvtph_ps(_mm256_set1_epi16(int16_t(d))));
    AccumulateSigned<T>(u, weight_scale, x, acc);
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
