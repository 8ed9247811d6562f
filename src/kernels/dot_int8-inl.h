// The int8 dot product of one vector on what each Highway target guarantees.
#if defined(HUNCH_KERNELS_DOT_INT8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_DOT_INT8_INL_H_
#undef HUNCH_KERNELS_DOT_INT8_INL_H_
#else
#define HUNCH_KERNELS_DOT_INT8_INL_H_
#endif
#include "hwy/highway.h"

// Whether DotSigned exists; elsewhere (scalar, SSE2, SVE, WASM) the products are plain loops.
#undef HUNCH_INT8_SIMD
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSSE3
#define HUNCH_INT8_SIMD 1
#elif HWY_ARCH_ARM && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128 && !HWY_HAVE_SCALABLE
#define HUNCH_INT8_SIMD 1
#else
#define HUNCH_INT8_SIMD 0
#endif

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// DotSigned(acc, w, x): lane i is acc[i] + the sum over j in 0..3 of w[4i + j] * x[4i + j], for w in
// -128..127 and x in -127..127.
#if HUNCH_INT8_SIMD && HWY_ARCH_X86
// maddubs multiplies unsigned by signed: |w| by x with the sign of w. |w| <= 128 and |x| <= 127, so
// that its int16 pair sums (at most 2 * 128 * 127) do not saturate.
HWY_INLINE hn::Vec128<int32_t> DotSigned(hn::Vec128<int32_t> acc, hn::Vec128<int8_t> w, hn::Vec128<int8_t> x) {
  const __m128i pairs = _mm_maddubs_epi16(_mm_abs_epi8(w.raw), _mm_sign_epi8(x.raw, w.raw));
  return hn::Vec128<int32_t>{_mm_add_epi32(acc.raw, _mm_madd_epi16(pairs, _mm_set1_epi16(1)))};
}
#if HWY_TARGET <= HWY_AVX2
HWY_INLINE hn::Vec256<int32_t> DotSigned(hn::Vec256<int32_t> acc, hn::Vec256<int8_t> w, hn::Vec256<int8_t> x) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w.raw), _mm256_sign_epi8(x.raw, w.raw));
  return hn::Vec256<int32_t>{_mm256_add_epi32(acc.raw, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
}
#endif
#if HWY_TARGET <= HWY_AVX3
HWY_INLINE hn::Vec512<int32_t> DotSigned(hn::Vec512<int32_t> acc, hn::Vec512<int8_t> w, hn::Vec512<int8_t> x) {
  const __m512i signed_x = _mm512_mask_sub_epi8(x.raw, _mm512_movepi8_mask(w.raw), _mm512_setzero_si512(), x.raw);
  const __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(w.raw), signed_x);
  return hn::Vec512<int32_t>{_mm512_add_epi32(acc.raw, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
}
#endif
#elif HUNCH_INT8_SIMD
HWY_INLINE hn::Vec128<int32_t> DotSigned(hn::Vec128<int32_t> acc, hn::Vec128<int8_t> w, hn::Vec128<int8_t> x) {
#if defined(__ARM_FEATURE_DOTPROD)
  return hn::Vec128<int32_t>(vdotq_s32(acc.raw, w.raw, x.raw));
#else
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w.raw), vget_low_s8(x.raw)));
  const int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(w.raw), vget_high_s8(x.raw)));
  const int32x4_t sums = vcombine_s32(vpadd_s32(vget_low_s32(low), vget_high_s32(low)),
                                      vpadd_s32(vget_low_s32(high), vget_high_s32(high)));
  return hn::Vec128<int32_t>(vaddq_s32(acc.raw, sums));
#endif
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
