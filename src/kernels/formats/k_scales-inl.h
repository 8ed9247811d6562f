// What Q4_K and Q5_K share: a head of d, d_min and twelve bytes of scales and minima.
#if defined(HUNCH_KERNELS_FORMATS_K_SCALES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_K_SCALES_INL_H_
#undef HUNCH_KERNELS_FORMATS_K_SCALES_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_K_SCALES_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// scale[0..7] and min[0..7] of the head that Q4_K and Q5_K share: d, d_min and twelve bytes.
HWY_INLINE void ScalesK(const std::byte* head, Unpacked& out) {
  alignas(32) float d[8];
  ScalesF16(head, 2, 2, d);
  uint32_t a, b, c;
  std::memcpy(&a, head + 4, 4);   // scales 0..3 and the top bits of scales 4..7
  std::memcpy(&b, head + 8, 4);   // the same of the minima
  std::memcpy(&c, head + 12, 4);  // the low four bits of scales and minima 4..7
  const uint32_t codes[4] = {a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u), b & 0x3f3f3f3fu,
                             (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u)};
  uint8_t bytes[16];
  std::memcpy(bytes, codes, 16);
  for (size_t j = 0; j < 8; ++j) out.scale[j] = d[0] * float(bytes[j]);
  for (size_t j = 0; j < 8; ++j) out.min[j] = d[1] * float(bytes[8 + j]);
}

#if HUNCH_AVX512
// [d * scale[0..7], d_min * min[0..7]] of a Q4_K or Q5_K block.
HWY_INLINE __m512 ScalesK(const std::byte* w) {
  uint32_t d, a, b, c;
  std::memcpy(&d, w, 4);
  std::memcpy(&a, w + 4, 4);   // bytes 0..3 of the packed scales: scales 0..3 and top bits of 4..7
  std::memcpy(&b, w + 8, 4);   // the same of the minima
  std::memcpy(&c, w + 12, 4);  // low four bits of scales 4..7 and minima 4..7
  const uint64_t scales = (a & 0x3f3f3f3fu) | uint64_t((c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u)) << 32;
  const uint64_t mins = (b & 0x3f3f3f3fu) | uint64_t((c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u)) << 32;
  const __m512 codes = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_set_epi64x(int64_t(mins), int64_t(scales))));
  const __m512i which = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128(int(d)));
  return _mm512_mul_ps(codes, _mm512_permutexvar_ps(which, _mm512_castps128_ps512(both)));
}
#endif  // HUNCH_AVX512

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

struct alignas(64) PackedK {  // 1 block: sub-blocks 0 2 | 1 3 | 4 6 | 5 7
  static constexpr size_t kElems = 256;
  int8_t x[4][64];
  float scale[16];  // 8 scales, then 8 times -scale * sum(x), for the minima

  HWY_INLINE void Fill(const int8_t* q, const float* scale_of, const float* scaled_sum) {
    constexpr int kOrder[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (int j = 0; j < 8; ++j) std::memcpy(x[0] + 32 * j, q + 32 * kOrder[j], 32);
    for (int j = 0; j < 8; ++j) scale[j] = scale_of[j];
    for (int j = 0; j < 8; ++j) scale[8 + j] = -scaled_sum[j];
  }
};

// Adds the dots of the four code vectors with x, scaled by sub-block, and the minima.
template <int T>
HWY_INLINE void AccumulateK(const __m512i (&u)[4], __m512 weight_scale, const PackedK* const* x, __m512* acc) {
  const __m512i first = _mm512_set_epi32(2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0);
  for (int t = 0; t < T; ++t) {
    const __m512 scale = _mm512_mul_ps(weight_scale, _mm512_load_ps(x[t]->scale));
    acc[t] = _mm512_mask_add_ps(acc[t], 0xff00, acc[t], scale);
    for (int i = 0; i < 4; ++i) {
      constexpr int kFirst[4] = {0, 1, 4, 5};
      const __m512i dots = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u[i], Load512(x[t]->x[i]));
      const __m512i which = _mm512_add_epi32(first, _mm512_set1_epi32(kFirst[i]));
      acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_permutexvar_ps(which, scale), acc[t]);
    }
  }
}

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
