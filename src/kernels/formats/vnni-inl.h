// Rows of quantised weights times a few tokens with vpdpbusd on 512-bit vectors: what the formats share.
//
// Every format multiplies unsigned codes u = w + offset by x: w.x = u.x - offset * sum(x). The lane
// sums of x, times -offset, are laid beside x once per call and start the integer accumulators, so
// that the offset costs nothing per row. x lies in the order in which a format's nibbles unpack.
#if defined(HUNCH_KERNELS_FORMATS_VNNI_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_VNNI_INL_H_
#undef HUNCH_KERNELS_FORMATS_VNNI_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_VNNI_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

// Of a format that has it (without, the rows are unpacked):
//   Packed             x beside a group of weights: kElems of them, and how to make it:
//                      Fill(q, scale, scaled_sum), the rows of QuantizedX at the group's beginning
//   kBytes             of a group of weights
//   Accumulate<T>(w, x, acc)         adds the products of one group of weights with that of T tokens, x[t] being a
//                                    token's group; 16 lanes of sums each
//   AccumulateRest<T>(w, n, x, acc)  the same of the last n < kBytes bytes of a row; where a group has several blocks
template <class Format>
struct Row;
template <class Format>
concept HasRow = requires {
  typename Row<Format>::Packed;
};

HWY_INLINE void StartSums(const int8_t* x, int32_t offset, int32_t* start) {
  for (int i = 0; i < 16; ++i) start[i] -= offset * (x[4 * i] + x[4 * i + 1] + x[4 * i + 2] + x[4 * i + 3]);
}

HWY_INLINE __m512i Load512(const void* p) { return _mm512_loadu_si512(p); }
HWY_INLINE __m512 ScaleFromWords(__m512i words, __m512i which) {
  return _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(which, words)));
}

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
