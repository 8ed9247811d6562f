// Sixteen lines of sixteen times 32 bits, transposed.
#if defined(HUNCH_KERNELS_TILES_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_TILES_TRANSPOSE_INL_H_
#undef HUNCH_KERNELS_TILES_TRANSPOSE_INL_H_
#else
#define HUNCH_KERNELS_TILES_TRANSPOSE_INL_H_
#endif
#include <immintrin.h>

#include <cstddef>

#include "hwy/highway.h"
#include "kernels/tiles/pairs-inl.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

HWY_INLINE void StoreLine(__m512i pairs, std::byte* to) { _mm512_store_si512(to, pairs); }

// line j of `to` = value j of the sixteen rows.
HWY_INLINE void Transpose16(const __m512i (&row)[16], std::byte* to) {
  __m512i two[16], four[16];
  HWY_UNROLL(8) for (size_t i = 0; i < 16; i += 2) {
    two[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    two[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  HWY_UNROLL(4) for (size_t i = 0; i < 16; i += 4) {
    four[i] = _mm512_unpacklo_epi64(two[i], two[i + 2]);
    four[i + 1] = _mm512_unpackhi_epi64(two[i], two[i + 2]);
    four[i + 2] = _mm512_unpacklo_epi64(two[i + 1], two[i + 3]);
    four[i + 3] = _mm512_unpackhi_epi64(two[i + 1], two[i + 3]);
  }
  // four[4 g + c], 128 bits L: value 4 L + c of rows 4 g .. 4 g + 3.
  HWY_UNROLL(4) for (size_t c = 0; c < 4; ++c) {
    const __m512i even0 = _mm512_shuffle_i32x4(four[c], four[4 + c], 0x88);
    const __m512i odd0 = _mm512_shuffle_i32x4(four[c], four[4 + c], 0xdd);
    const __m512i even1 = _mm512_shuffle_i32x4(four[8 + c], four[12 + c], 0x88);
    const __m512i odd1 = _mm512_shuffle_i32x4(four[8 + c], four[12 + c], 0xdd);
    StoreLine(_mm512_shuffle_i32x4(even0, even1, 0x88), to + c * kLineBytes);
    StoreLine(_mm512_shuffle_i32x4(odd0, odd1, 0x88), to + (4 + c) * kLineBytes);
    StoreLine(_mm512_shuffle_i32x4(even0, even1, 0xdd), to + (8 + c) * kLineBytes);
    StoreLine(_mm512_shuffle_i32x4(odd0, odd1, 0xdd), to + (12 + c) * kLineBytes);
  }
}

}  // namespace tiles
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();
#endif  // HUNCH_TILES
#endif
