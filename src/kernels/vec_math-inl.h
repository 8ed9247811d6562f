// Vectors of f32 in, vectors of f32 out: the functions that activations and softmax are made of, and
// loads of the last few elements of a row. For inclusion by kernels, once per SIMD target.
//
// Polynomials: Chebyshev fits of our own (mpmath's chebyfit), errors stated beside them. NaN in, NaN out.
// clang-format off
#if defined(HUNCH_KERNELS_VEC_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_VEC_MATH_INL_H_
#undef HUNCH_KERNELS_VEC_MATH_INL_H_
#else
#define HUNCH_KERNELS_VEC_MATH_INL_H_
#endif
// clang-format on
#include <cstring>

#include "hwy/highway.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// The n < Lanes(d) elements at p, then `fill`. Not MaskedLoad: on SSE and NEON that reads past the row.
HWY_INLINE VF load_tail(DF d, const float* p, size_t n, float fill = 0.0f) {
  HWY_ALIGN float lanes[hn::MaxLanes(d)];
  hn::Store(hn::Set(d, fill), d, lanes);
  std::memcpy(lanes, p, n * sizeof(float));
  return hn::Load(d, lanes);
}

HWY_INLINE void store_tail(VF v, DF d, float* p, size_t n) {
  HWY_ALIGN float lanes[hn::MaxLanes(d)];
  hn::Store(v, d, lanes);
  std::memcpy(p, lanes, n * sizeof(float));
}

// e^x for x <= 88; 0 below -87.3. Relative error below 2e-7.
HWY_INLINE VF exp(DF d, VF x) {
  const hn::RebindToSigned<DF> di;
  const VF magic = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const VF shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const VF n = hn::Sub(shifted, magic);
  VF r = hn::NegMulAdd(n, hn::Set(d, 0.693145751953125f), x);  // x - n ln 2, ln 2 in two parts
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6f), r);
  VF p = hn::Set(d, 0.00139262839f);  // (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, error 7e-8
  p = hn::MulAdd(p, r, hn::Set(d, 0.00836325938f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.0416665540f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665766f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
  p = hn::MulAdd(hn::Mul(p, r), r, r);
  p = hn::Add(p, hn::Set(d, 1.0f));
  const auto scaled = hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  const VF y = hn::BitCast(d, scaled);
  // NaN must not meet the integer addition: its carry would leave the NaN range.
  return hn::IfThenElse(hn::Eq(x, x), hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3f)), y), x);
}

// 1 / (1 + e^-x). Relative error below 4e-7 for x > -87.
HWY_INLINE VF sigmoid(DF d, VF x) {
  const VF one = hn::Set(d, 1.0f);
  const VF lowest = hn::Set(d, -87.0f), limited = hn::IfThenElse(hn::Lt(x, lowest), lowest, x);
  return hn::Div(one, hn::Add(one, exp(d, hn::Neg(limited))));
}

// Relative error below 4e-7.
HWY_INLINE VF tanh(DF d, VF x) {
  const VF one = hn::Set(d, 1.0f), magnitude = hn::Abs(x), u = hn::Mul(x, x);
  VF p = hn::Set(d, -0.00565713518f);  // tanh(x) / x in x^2 on |x| <= 0.625, error 4e-9
  p = hn::MulAdd(p, u, hn::Set(d, 0.0205881915f));
  p = hn::MulAdd(p, u, hn::Set(d, -0.0537201077f));
  p = hn::MulAdd(p, u, hn::Set(d, 0.133311141f));
  p = hn::MulAdd(p, u, hn::Set(d, -0.333332599f));
  p = hn::MulAdd(hn::Mul(p, u), x, x);
  const VF e = exp(d, hn::Mul(magnitude, hn::Set(d, -2.0f)));
  const VF large = hn::CopySignToAbs(hn::Div(hn::Sub(one, e), hn::Add(one, e)), x);
  return hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 0.625f)), large, p);
}

// The normal distribution function, 0.5 * erfc(-x / sqrt 2). Absolute error below 1e-7.
HWY_INLINE VF normal_cdf(DF d, VF x) {
  const VF one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f);
  const VF z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
  const VF t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.4f), one));
  VF p = hn::Set(d, 0.0513464462f);  // erfc(z) e^(z^2) / t on t in [0, 1], error 1.5e-7
  p = hn::MulAdd(p, t, hn::Set(d, -0.187325420f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.176427767f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.0119614121f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.144481242f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.167746318f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.207944652f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.225664629f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.225675901f));
  const VF tail = hn::Mul(hn::Mul(hn::Mul(p, t), half), exp(d, hn::Neg(hn::Mul(z, z))));
  return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Sub(one, tail), tail);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
