// Q4_0 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q4_0_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q4_0_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q4_0_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q4_0_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q4_0.h"
#include "hwy/highway.h"
#include "kernels/formats/pairs-inl.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"
#include "kernels/formats/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q4_0> : Blocks<format::Q4_0, 32> {
  static constexpr size_t kAddTokens = 27;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    const ByteVec eight = hn::Set(Bytes(), uint8_t(8));
    ScalesF16(blocks, kBlockBytes, n / 32, out.scale);
    for (size_t b = 0; b < n / 32; ++b) {
      const auto* pairs = reinterpret_cast<const uint8_t*>(blocks + b * kBlockBytes + 2);
      for (size_t l = 0; l < 16; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), pairs + l);
        StoreBytes(hn::Sub(Low4(v), eight), out.q + b * 32 + l);
        StoreBytes(hn::Sub(High4(v), eight), out.q + b * 32 + 16 + l);
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
struct Row<format::Q4_0> {
  using Packed = PackedPairs<8>;
  static constexpr size_t kBytes = 4 * sizeof(format::Q4_0::Block);  // of the weights of one group
  // In words: the scales of a group stand at 0, 9, 18 and 27, each followed by 8 words of codes.
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i words = Load512(w);  // all but the end of the last block
    Add<T>(words, _mm512_inserti32x4(Codes(words), _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 56)), 3), x,
           acc);
  }
  static HWY_INLINE __m512i Codes(__m512i words) {
    const __m512i which = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 26, 25, 24, 23, 22, 21, 20, 19, 17, 16, 15, 14, 13,
                                           12, 11, 10, 8, 7, 6, 5, 4, 3, 2, 1);
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
        _mm512_castsi256_si512(_mm256_set_epi16(27, 27, 27, 27, 18, 18, 18, 18, 9, 9, 9, 9, 0, 0, 0, 0));
    const __m512 scale = ScaleFromWords(words, which);
    AddPairs<T>(low, high, scale, x, acc);
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
struct RowSum<format::Q4_0> {
  static constexpr int kRows = 8;
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    const __m512 table = _mm512_set_ps(7, 6, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8);
    Factors<R, T> f;
    BlockFactors<sizeof(format::Q4_0::Block)>(w, a, n / 32, f);
    AddBlocks(f, n, nullptr, y, prefetch, [&](int r, size_t b, __m512* value) HWY_ATTR {
      NibblePairs(w[r] + b * sizeof(format::Q4_0::Block) + 2, table, value);
    });
  }
};

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
