// Rows of the k-quants whose scales are of sixteen codes each, with vpdpbusd: what Q2_K, Q3_K and Q6_K share.
#if defined(HUNCH_KERNELS_FORMATS_SIXTEENTHS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_SIXTEENTHS_INL_H_
#undef HUNCH_KERNELS_FORMATS_SIXTEENTHS_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_SIXTEENTHS_INL_H_
#endif
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/formats/vnni-inl.h"

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

// A block's x in order, for codes that are the weights' integers plus kOffset.
template <int32_t kOffset>
struct alignas(64) PackedSigned {
  static constexpr size_t kElems = 256;
  int8_t x[4][64];
  int32_t start[4][16];
  float scale[16];  // of each sub-block

  HWY_INLINE void Fill(const int8_t* q, const float* scale_of, const float*) {
    std::memcpy(x, q, 256);
    std::memset(start, 0, sizeof start);
    for (int i = 0; i < 4; ++i) StartSums(x[i], kOffset, start[i]);
    for (int j = 0; j < 16; ++j) scale[j] = scale_of[j / 2];
  }
};

// The same for codes that are unsigned, beside minima.
struct alignas(64) PackedWithMinima {
  static constexpr size_t kElems = 256;
  int8_t x[4][64];
  float scale[16], sum[16];  // of each sub-block; the sums are scaled

  HWY_INLINE void Fill(const int8_t* q, const float* scale_of, const float*) {
    std::memcpy(x, q, 256);
    for (int j = 0; j < 16; ++j) {
      int32_t all = 0;
      for (int i = 0; i < 16; ++i) all += q[16 * j + i];
      scale[j] = scale_of[j / 2];
      sum[j] = scale[j] * float(all);
    }
  }
};

HWY_INLINE __m512i StartOf(const PackedWithMinima*, int) { return _mm512_setzero_si512(); }
template <int32_t kOffset>
HWY_INLINE __m512i StartOf(const PackedSigned<kOffset>* x, int i) {
  return Load512(x->start[i]);
}

// acc[t] += the block's codes u, in order, times x[t]; lane j of `weight_scale` is of sub-block j.
template <int T, class Packed>
HWY_INLINE void AccumulateSigned(const __m512i (&u)[4], __m512 weight_scale, const Packed* const* x, __m512* acc) {
  const __m512i first = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
  for (int t = 0; t < T; ++t) {
    const __m512 scale = _mm512_mul_ps(weight_scale, _mm512_load_ps(x[t]->scale));
    for (int i = 0; i < 4; ++i) {
      const __m512i dots = _mm512_dpbusd_epi32(StartOf(x[t], i), u[i], Load512(x[t]->x[i]));
      const __m512i which = _mm512_add_epi32(first, _mm512_set1_epi32(4 * i));
      acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_permutexvar_ps(which, scale), acc[t]);
    }
  }
}

// Lanes of 16 bits: `lower` in the lower 256 bits, `upper` above them.
HWY_INLINE __m512i Shifts(int16_t lower, int16_t upper) {
  return _mm512_inserti64x4(_mm512_set1_epi16(lower), _mm256_set1_epi16(upper), 1);
}
// 32 bytes, twice.
HWY_INLINE __m512i Twice(const std::byte* p) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// The two bits of each code, of quarters 0 and 1 of a half, or of 2 and 3: `half` holds all four, two bits each.
template <int kFirst>
HWY_INLINE __m512i TwoBits(__m512i half) {
  return _mm512_and_si512(_mm512_srlv_epi16(half, Shifts(2 * kFirst, 2 * kFirst + 2)), _mm512_set1_epi8(3));
}
HWY_INLINE __m512 FloatOfHalf(const std::byte* p) {
  uint16_t d;
  std::memcpy(&d, p, 2);
  return _mm512_cvtph_ps(_mm256_set1_epi16(int16_t(d)));
}

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
