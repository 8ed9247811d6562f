// Sums of scaled quantised rows on 512-bit vectors: what the formats share. Codes become f32 in registers, without a
// detour through memory: a nibble becomes its value by a look-up among 16 floats (vpermps reads only the low four bits
// of an index), so that a block of 32 costs, per row: one widening load, one shift, two look-ups, two FMAs.
#if defined(HUNCH_KERNELS_FORMATS_WIDE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_WIDE_INL_H_
#undef HUNCH_KERNELS_FORMATS_WIDE_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_WIDE_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

#if HUNCH_AVX512
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace wide {

// Of a format that has it (without, the rows are unpacked):
//   kRows     rows added together, a multiple of 4: y is read and written once for all of them
//   Add<R, T>(w, a, n, y, prefetch)  adds `n` elements (up to 256, whole blocks) of R rows, times a[r * T + t], to the
//   T
//                                    rows y; w[r] points at them. prefetch(b) is called before block b of 32: eight
//                                    parts, so that requests do not come in bursts that fill the buffers between L1 and
//                                    L2
template <class Format>
struct RowSum;
template <class Format>
concept HasRowSum = requires {
  RowSum<Format>::kRows;
};

// factor[r][t][b] = a[r * T + t] * scale of sub-block b, for 256 elements.
template <int R, int T>
struct Factors {
  alignas(64) float of[R][T][16];
};

HWY_INLINE __m512 Nibbles(__m512i index, __m512 table) { return _mm512_permutexvar_ps(index, table); }
HWY_INLINE __m512i LoadPairs(const std::byte* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// The f16 scales of 8 blocks that lie kStride bytes apart; zeros past n_blocks.
template <size_t kStride>
HWY_INLINE __m256 BlockScales(const std::byte* w, size_t n_blocks) {
  if (n_blocks == 8 && kStride == 18) {  // words 0, 9, 18 and 27 of each half
    const __m512i which = _mm512_castsi128_si512(_mm_set_epi16(59, 50, 41, 32, 27, 18, 9, 0));
    return _mm256_cvtph_ps(_mm512_castsi512_si128(
        _mm512_permutex2var_epi16(_mm512_loadu_si512(w), which, _mm512_loadu_si512(w + 4 * kStride))));
  }
  uint64_t low = 0, high = 0;
  const auto half = [&](size_t b) HWY_ATTR {
    uint16_t h = 0;
    if (b < n_blocks) std::memcpy(&h, w + b * kStride, 2);
    return uint64_t(h);
  };
  for (size_t b = 0; b < 4; ++b) low |= half(b) << 16 * b, high |= half(b + 4) << 16 * b;
  return _mm256_cvtph_ps(_mm_set_epi64x(int64_t(high), int64_t(low)));
}

template <size_t kStride, int R, int T>
HWY_INLINE void BlockFactors(const std::byte* const* w, const float* a, size_t n_blocks, Factors<R, T>& f) {
  HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
    const __m256 scales = BlockScales<kStride>(w[r], n_blocks);
    for (int t = 0; t < T; ++t) _mm256_store_ps(f.of[r][t], _mm256_mul_ps(scales, _mm256_set1_ps(a[r * T + t])));
  }
}

// minima[t][b] = what is to be subtracted for R rows whose blocks add an f16 minimum, which stands `at` in them.
template <size_t kStride, int R, int T>
HWY_INLINE void AddedMinima(const std::byte* const* w, size_t at, const float* a, size_t n_blocks, float (*minima)[8]) {
  for (int t = 0; t < T; ++t) std::memset(minima[t], 0, sizeof minima[t]);
  HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
    const __m256 min = BlockScales<kStride>(w[r] + at, n_blocks);
    for (int t = 0; t < T; ++t)
      _mm256_store_ps(minima[t], _mm256_fnmadd_ps(min, _mm256_set1_ps(a[r * T + t]), _mm256_load_ps(minima[t])));
  }
}

// y[t][32b .. 32b + 32) += the R rows' block b, whose two halves codes(r, value) returns, less min[t][b]
// where a format has minima.
template <int R, int T, class Codes>
HWY_INLINE void AddBlock(const Factors<R, T>& f, size_t b, const float (*min)[8], float* const* y, const Codes& codes) {
  __m512 sum[T][2];
  for (int t = 0; t < T; ++t)
    for (int half = 0; half < 2; ++half) {
      sum[t][half] = _mm512_loadu_ps(y[t] + 32 * b + 16 * half);
      if (min) sum[t][half] = _mm512_sub_ps(sum[t][half], _mm512_set1_ps(min[t][b]));
    }
  HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
    __m512 value[2];
    codes(r, value);
    for (int t = 0; t < T; ++t) {
      const __m512 factor = _mm512_set1_ps(f.of[r][t][b]);
      sum[t][0] = _mm512_fmadd_ps(value[0], factor, sum[t][0]);
      sum[t][1] = _mm512_fmadd_ps(value[1], factor, sum[t][1]);
    }
  }
  for (int t = 0; t < T; ++t) {
    _mm512_storeu_ps(y[t] + 32 * b, sum[t][0]);
    _mm512_storeu_ps(y[t] + 32 * b + 16, sum[t][1]);
  }
}

// All n / 32 blocks of a group: codes(r, b, value) are row r's of block b.
template <int R, int T, class Ahead, class Codes>
HWY_INLINE void AddBlocks(const Factors<R, T>& f, size_t n, const float (*min)[8], float* const* y,
                          const Ahead& prefetch, const Codes& codes) {
  for (size_t b = 0; b < n / 32; ++b) {
    prefetch(b);
    AddBlock(f, b, min, y, [&](int r, __m512* value) HWY_ATTR { codes(r, b, value); });
  }
}
// The values of the low and then of the high halves of 16 bytes.
HWY_INLINE void NibblePairs(const std::byte* p, __m512 table, __m512* value) {
  const __m512i pairs = LoadPairs(p);
  value[0] = Nibbles(pairs, table);
  value[1] = Nibbles(_mm512_srli_epi32(pairs, 4), table);
}

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
