// f32 to bf16 in the order that tiles want: neighbouring columns side by side, in 32 bits.
#if defined(HUNCH_KERNELS_TILES_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_TILES_PAIRS_INL_H_
#undef HUNCH_KERNELS_TILES_PAIRS_INL_H_
#else
#define HUNCH_KERNELS_TILES_PAIRS_INL_H_
#endif
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/tiles/target.h"
#include "kernels/tiles/tile_x.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

constexpr size_t kLineBytes = 64;                             // of a tile
constexpr size_t kTileBytes = 16 * kLineBytes;                // sixteen lines
constexpr size_t kTileDepth = TileX::kDepth;                  // columns of W that are unpacked at a time
constexpr size_t kStepsOfPanel = kTileDepth / 32;             // a tile has 32 of them
constexpr size_t kStripOfPanel = kStepsOfPanel * kTileBytes;  // sixteen rows
constexpr size_t kPartOfPanel = 2 * kStripOfPanel;            // of thirty-two rows: upper or lower parts

HWY_INLINE __mmask16 FirstLanes(size_t n) { return __mmask16(n >= 16 ? 0xffff : (1u << n) - 1); }

// Lane i: a[i] in the lower, b[i] in the upper half.
HWY_INLINE __m512i Pairs(__m512 a, __m512 b) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}
HWY_INLINE __m512 LowerHalf(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
HWY_INLINE __m512 UpperHalf(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(int(0xffff0000))));
}
// What bf16 leaves of v; nothing of Infinity and NaN, which it holds.
HWY_INLINE __m512 Left(__m512 v, __m512 rounded) {
  const __mmask16 special = _mm512_fpclass_ps_mask(rounded, 0x01 | 0x08 | 0x10 | 0x80);
  return _mm512_maskz_sub_ps(__mmask16(~special), v, rounded);
}

// 32 values in order, and what rounding leaves of them.
HWY_INLINE __m512i Rounded(__m512 first, __m512 second) { return (__m512i)_mm512_cvtne2ps_pbh(second, first); }
HWY_INLINE __m512i RoundedLeft(__m512 first, __m512 second, __m512i rounded) {
  const __m512 first_rounded =
                   _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(rounded)), 16)),
               second_rounded = _mm512_castsi512_ps(
                   _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(rounded, 1)), 16));
  return Rounded(Left(first, first_rounded), Left(second, second_rounded));
}

}  // namespace tiles
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();
#endif  // HUNCH_TILES
#endif
