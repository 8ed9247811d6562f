// Four blocks of 32 codes, of which byte i holds codes i and 16 + i, with vpdpbusd: what the formats share.
#if defined(HUNCH_KERNELS_FORMATS_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_PAIRS_INL_H_
#undef HUNCH_KERNELS_FORMATS_PAIRS_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_PAIRS_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/formats/vnni-inl.h"

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

// 4 blocks: their low halves, then their high halves. kOffset: of the codes.
template <int kOffset>
struct alignas(64) PackedPairs {
  static constexpr size_t kElems = 128;
  int8_t low[64], high[64];
  int32_t start[16];
  float scale[16];

  HWY_INLINE void Fill(const int8_t* q, const float* scale_of, const float*) {
    for (int b = 0; b < 4; ++b) {
      std::memcpy(low + 16 * b, q + 32 * b, 16);
      std::memcpy(high + 16 * b, q + 32 * b + 16, 16);
    }
    std::memset(start, 0, sizeof start);
    StartSums(low, kOffset, start);
    StartSums(high, kOffset, start);
    for (int i = 0; i < 16; ++i) scale[i] = scale_of[i / 4];
  }
};

// acc[t] += the codes of four blocks times x[t](), each lane scaled by its block's.
template <int T, class X>
HWY_INLINE void AddPairs(__m512i low, __m512i high, __m512 scale, const X& x, __m512* acc) {
  for (int t = 0; t < T; ++t) {
    __m512i dots = _mm512_dpbusd_epi32(Load512(x(t).start), low, Load512(x(t).low));
    dots = _mm512_dpbusd_epi32(dots, high, Load512(x(t).high));
    acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scale, _mm512_load_ps(x(t).scale)), acc[t]);
  }
}

template <int T, class Packed>
HWY_INLINE void AddPairs(__m512i low, __m512i high, __m512 scale, const Packed* const* x, __m512* acc) {
  AddPairs<T>(
      low, high, scale, [&](int t) -> const Packed& { return *x[t]; }, acc);
}

// 16 bytes of each of four blocks that lie kStride bytes apart.
template <size_t kStride>
HWY_INLINE __m512i LoadPairs(const std::byte* w) {
  const auto load = [&](size_t b)
                        HWY_ATTR { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + b * kStride)); };
  const __m256i first = _mm256_inserti128_si256(_mm256_castsi128_si256(load(0)), load(1), 1);
  const __m256i second = _mm256_inserti128_si256(_mm256_castsi128_si256(load(2)), load(3), 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}
// The f16 at the beginning of each of the four, in the four lanes of its block.
template <size_t kStride>
HWY_INLINE __m512 HalvesOfFour(const std::byte* w) {
  uint64_t bits = 0;
  for (size_t b = 0; b < 4; ++b) {
    uint16_t h;
    std::memcpy(&h, w + b * kStride, 2);
    bits |= uint64_t(h) << 16 * b;
  }
  const __m512i which = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
  return _mm512_permutexvar_ps(which, _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi64_si128(int64_t(bits)))));
}

// The last blocks of a row in a group whose missing blocks are zero; Row::Accumulate does the rest.
template <class Row, int T>
HWY_INLINE void AccumulateLast(const std::byte* w, size_t n, const typename Row::Packed* const* x, __m512* acc) {
  std::byte group[Row::kBytes] = {};
  std::memcpy(group, w, n);
  Row::template Accumulate<T>(group, x, acc);
}

// What rows of such blocks have besides Accumulate.
template <class F, class PACKED>
struct FourBlocks {
  using Packed = PACKED;
  static constexpr size_t kStride = sizeof(typename F::Block), kBytes = 4 * kStride;
  template <int T>
  static HWY_INLINE void AccumulateRest(const std::byte* w, size_t n, const Packed* const* x, __m512* acc) {
    AccumulateLast<Row<F>, T>(w, n, x, acc);
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
