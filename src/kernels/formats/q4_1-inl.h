// Q4_1 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q4_1_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q4_1_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q4_1_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q4_1_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q4_1.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"
#include "kernels/formats/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q4_1> : Blocks<format::Q4_1, 32> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    ScalesF16(blocks, kBlockBytes, n / 32, out.scale);
    ScalesF16(blocks + offsetof(format::Q4_1::Block, min), kBlockBytes, n / 32, out.min);
    for (size_t j = 0; j < 8; ++j) out.min[j] = -out.min[j];  // the format adds it
    for (size_t b = 0; b < n / 32; ++b) {
      const auto* pairs = reinterpret_cast<const uint8_t*>(blocks + b * kBlockBytes + offsetof(format::Q4_1::Block, q));
      for (size_t l = 0; l < 16; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), pairs + l);
        StoreBytes(Low4(v), out.q + b * 32 + l);
        StoreBytes(High4(v), out.q + b * 32 + 16 + l);
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

struct alignas(64) PackedQ4_1 {  // 4 blocks: their low halves, then their high halves
  static constexpr size_t kElems = 128;
  int8_t low[64], high[64];
  float scale[16];
  float sum[16];  // scale * sum(x) of each block in the first of its four lanes: for the minima

  HWY_INLINE void Fill(const int8_t* q, const float* scale_of, const float* scaled_sum) {
    for (int b = 0; b < 4; ++b) {
      std::memcpy(low + 16 * b, q + 32 * b, 16);
      std::memcpy(high + 16 * b, q + 32 * b + 16, 16);
    }
    for (int i = 0; i < 16; ++i) scale[i] = scale_of[i / 4];
    for (int i = 0; i < 16; ++i) sum[i] = i % 4 == 0 ? scaled_sum[i / 4] : 0.0f;
  }
};

// acc[t] += the codes of four blocks times x[t], each lane scaled by its block's, plus its minimum times x[t].
template <int T>
HWY_INLINE void AddPairsAndMinima(__m512i low, __m512i high, __m512 scale, __m512 min, const PackedQ4_1* const* x,
                                  __m512* acc) {
  for (int t = 0; t < T; ++t) {
    __m512i dots = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, Load512(x[t]->low));
    dots = _mm512_dpbusd_epi32(dots, high, Load512(x[t]->high));
    acc[t] = _mm512_fmadd_ps(min, _mm512_load_ps(x[t]->sum), acc[t]);
    acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scale, _mm512_load_ps(x[t]->scale)), acc[t]);
  }
}

template <>
struct Row<format::Q4_1> {
  using Packed = PackedQ4_1;
  static constexpr size_t kBytes = 4 * sizeof(format::Q4_1::Block);  // of the weights of one group
  // In words: the scales of a group stand at 0, 10, 20 and 30, each followed by the minimum and 8 words of codes.
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i words = Load512(w);  // all but the codes of the last block
    Add<T>(words, _mm512_inserti32x4(Codes(words), _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 64)), 3), x,
           acc);
  }
  static HWY_INLINE __m512i Codes(__m512i words) {
    const __m512i which = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 29, 28, 27, 26, 25, 24, 23, 22, 19, 18, 17, 16, 15,
                                           14, 13, 12, 9, 8, 7, 6, 5, 4, 3, 2);
    return _mm512_maskz_permutexvar_epi16(0x00ffffff, which, words);
  }
  // Up to three blocks, n bytes; the missing ones are zero.
  template <int T>
  static HWY_INLINE void AccumulateRest(const std::byte* w, size_t n, const Packed* const* x, __m512* acc) {
    const __m512i words = _mm512_maskz_loadu_epi16((uint32_t{1} << n / 2) - 1, w);
    Add<T>(words, Codes(words), x, acc);
  }
  template <int T>
  static HWY_INLINE void Add(__m512i words, __m512i v, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i low = _mm512_and_si512(v, nibble), high = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
    const __m512i which =
        _mm512_castsi256_si512(_mm256_set_epi16(30, 30, 30, 30, 20, 20, 20, 20, 10, 10, 10, 10, 0, 0, 0, 0));
    const __m512 scale = ScaleFromWords(words, which);
    const __m512 min = ScaleFromWords(words, _mm512_add_epi16(which, _mm512_set1_epi16(1)));
    AddPairsAndMinima<T>(low, high, scale, min, x, acc);
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace wide {

template <>
struct RowSum<format::Q4_1> {
  static constexpr int kRows = 4;  // as in Q4_K, for the minima's sake
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    constexpr size_t kStride = sizeof(format::Q4_1::Block);
    const __m512 table = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    Factors<R, T> f;
    BlockFactors<kStride>(w, a, n / 32, f);
    alignas(64) float minima[T][8];
    AddedMinima<kStride, R, T>(w, offsetof(format::Q4_1::Block, min), a, n / 32, minima);
    AddBlocks(f, n, minima, y, prefetch, [&](int r, size_t b, __m512* value) HWY_ATTR {
      NibblePairs(w[r] + b * kStride + offsetof(format::Q4_1::Block, q), table, value);
    });
  }
};

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
