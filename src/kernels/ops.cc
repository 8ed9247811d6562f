#include "kernels/ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/vec_math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// y = f(x), element by element. `y` may be `x`.
template <class F>
HWY_INLINE void map(const float* x, float* y, size_t n, const F& f) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, x + i)), d, y + i);
  if (i < n) store_tail(f(d, load_tail(d, x + i, n - i)), d, y + i, n - i);
}

// y = f(x, y), element by element.
template <class F>
HWY_INLINE void zip(const float* x, float* y, size_t n, const F& f) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  if (i < n) store_tail(f(d, load_tail(d, x + i, n - i), load_tail(d, y + i, n - i)), d, y + i, n - i);
}

// The sum of f(x) over a few elements. Two accumulators hide the latency of the addition.
template <class F>
HWY_INLINE float sum_block(const float* x, size_t n, const F& f) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  VF a = hn::Zero(d), b = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    a = hn::Add(a, f(d, hn::LoadU(d, x + i)));
    b = hn::Add(b, f(d, hn::LoadU(d, x + i + lanes)));
  }
  if (i + lanes <= n) {
    a = hn::Add(a, f(d, hn::LoadU(d, x + i)));
    i += lanes;
  }
  if (i < n) {
    const auto valid = hn::FirstN(d, n - i);
    b = hn::Add(b, hn::IfThenElseZero(valid, f(d, load_tail(d, x + i, n - i))));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
}

// The sum of f(x): in f32 over blocks of 128 vectors, so that rounding stays near 1e-7, in f64 across them.
template <class F>
HWY_INLINE double sum(const float* x, size_t n, const F& f) {
  const size_t block = 128 * hn::Lanes(DF());
  double total = 0;
  for (size_t i = 0; i < n; i += block) total += double(sum_block(x + i, HWY_MIN(n - i, block), f));
  return total;
}

struct Identity {
  HWY_INLINE VF operator()(DF, VF x) const { return x; }
};
struct Square {
  HWY_INLINE VF operator()(DF, VF x) const { return hn::Mul(x, x); }
};
struct Deviation {
  float mean;
  HWY_INLINE VF operator()(DF d, VF x) const { return hn::Sub(x, hn::Set(d, mean)); }
};
struct SquaredDeviation {
  float mean;
  HWY_INLINE VF operator()(DF d, VF x) const {
    const VF delta = hn::Sub(x, hn::Set(d, mean));
    return hn::Mul(delta, delta);
  }
};
struct ExpMinus {
  float max;
  HWY_INLINE VF operator()(DF d, VF x) const { return exp(d, hn::Sub(x, hn::Set(d, max))); }
};

// y = (x - mean) * inv * weight + bias; each of weight and bias may be null.
HWY_INLINE void normalise(const float* x, float mean, float inv, const float* weight, const float* bias, float* y,
                          size_t n) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const VF vmean = hn::Set(d, mean), vinv = hn::Set(d, inv);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    VF v = hn::Mul(hn::Sub(hn::LoadU(d, x + i), vmean), vinv);
    if (weight) v = hn::Mul(v, hn::LoadU(d, weight + i));
    if (bias) v = hn::Add(v, hn::LoadU(d, bias + i));
    hn::StoreU(v, d, y + i);
  }
  for (; i < n; ++i) {
    float v = (x[i] - mean) * inv;
    if (weight) v *= weight[i];
    if (bias) v += bias[i];
    y[i] = v;
  }
}

void LayerNorm(const float* x, const float* weight, const float* bias, float eps, float* y, size_t n) {
  // The second pass corrects the first one's rounding: the deviations from an exact mean sum to 0.
  float mean = float(sum(x, n, Identity()) / double(n));
  const double rest = sum(x, n, Deviation{mean}) / double(n);
  mean += float(rest);
  const double var = sum(x, n, SquaredDeviation{mean}) / double(n);
  normalise(x, mean, float(1.0 / std::sqrt(var + double(eps))), weight, bias, y, n);
}

void RmsNorm(const float* x, const float* weight, float eps, float* y, size_t n) {
  const double mean_square = sum(x, n, Square()) / double(n);
  normalise(x, 0.0f, float(1.0 / std::sqrt(mean_square + double(eps))), weight, nullptr, y, n);
}

struct Relu {
  float threshold;
  HWY_INLINE VF operator()(DF d, VF x) const { return hn::IfThenZeroElse(hn::Le(x, hn::Set(d, threshold)), x); }
};
struct ReluSquared {
  float threshold;
  HWY_INLINE VF operator()(DF d, VF x) const {
    const VF y = Relu{threshold}(d, x);
    return hn::Mul(y, y);
  }
};
struct Silu {
  HWY_INLINE VF operator()(DF d, VF x) const { return hn::Mul(x, sigmoid(d, x)); }
};
struct GeluErf {
  HWY_INLINE VF operator()(DF d, VF x) const { return hn::Mul(x, normal_cdf(d, x)); }
};
struct GeluTanh {  // 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
  HWY_INLINE VF operator()(DF d, VF x) const {
    const VF cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.0713548163f), hn::Set(d, 1.59576912f));
    return hn::Mul(x, sigmoid(d, hn::Mul(x, cubic)));
  }
};
struct GeluQuick {
  HWY_INLINE VF operator()(DF d, VF x) const { return hn::Mul(x, sigmoid(d, hn::Mul(x, hn::Set(d, 1.702f)))); }
};

void Activate(Activation activation, float threshold, float* x, size_t n) {
  switch (activation) {
    case Activation::kRelu: return map(x, x, n, Relu{threshold});
    case Activation::kReluSquared: return map(x, x, n, ReluSquared{threshold});
    case Activation::kSilu: return map(x, x, n, Silu());
    case Activation::kGeluErf: return map(x, x, n, GeluErf());
    case Activation::kGeluTanh: return map(x, x, n, GeluTanh());
    case Activation::kGeluQuick: return map(x, x, n, GeluQuick());
  }
}

struct Sum {
  HWY_INLINE VF operator()(DF, VF x, VF y) const { return hn::Add(x, y); }
};
struct Product {
  HWY_INLINE VF operator()(DF, VF x, VF y) const { return hn::Mul(x, y); }
};
struct MulAddTo {
  float a;
  HWY_INLINE VF operator()(DF d, VF x, VF y) const { return hn::MulAdd(hn::Set(d, a), x, y); }
};
struct Times {
  float s;
  HWY_INLINE VF operator()(DF d, VF x) const { return hn::Mul(x, hn::Set(d, s)); }
};
struct Capped {
  float cap;
  HWY_INLINE VF operator()(DF d, VF x) const { return hn::Mul(hn::Set(d, cap), tanh(d, hn::Div(x, hn::Set(d, cap)))); }
};
void Add(const float* x, float* y, size_t n) { zip(x, y, n, Sum()); }
void Multiply(const float* x, float* y, size_t n) { zip(x, y, n, Product()); }
void Scale(float s, float* x, size_t n) { map(x, x, n, Times{s}); }
void SoftCap(float cap, float* x, size_t n) { map(x, x, n, Capped{cap}); }
void Axpy(float a, const float* x, float* y, size_t n) { zip(x, y, n, MulAddTo{a}); }

// The largest value that is not NaN; -inf where there is none.
HWY_INLINE float max_of(const float* x, size_t n) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const float lowest = -std::numeric_limits<float>::infinity();
  VF max = hn::Set(d, lowest);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VF v = hn::LoadU(d, x + i);
    max = hn::IfThenElse(hn::Gt(v, max), v, max);  // not Max, which treats NaN as each target likes
  }
  if (i < n) {
    const VF v = load_tail(d, x + i, n - i, lowest);
    max = hn::IfThenElse(hn::Gt(v, max), v, max);
  }
  // Not MaxOfLanes, which on Highway's emulated target is never below the lowest finite number.
  HWY_ALIGN float each[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(max, d, each);
  return *std::max_element(each, each + lanes);
}

float LogSumExp(const float* x, size_t n) {
  const float max = max_of(x, n);
  return max + float(std::log(sum(x, n, ExpMinus{max})));
}

float Softmax(float* x, size_t n) {
  const float max = max_of(x, n);
  map(x, x, n, ExpMinus{max});
  const double total = sum(x, n, Identity());
  map(x, x, n, Times{float(1.0 / total)});
  return max + float(std::log(total));
}

size_t Argmax(const float* x, size_t n) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const float max = max_of(x, n);
  const VF vmax = hn::Set(d, max);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const intptr_t found = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, x + i), vmax));
    if (found >= 0) return i + size_t(found);
  }
  for (; i < n; ++i)
    if (x[i] == max) return i;
  return 0;  // nothing but NaN
}

void RopeHalves(float* head, const float* cos, const float* sin, size_t n_pairs) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  float *low = head, *high = head + n_pairs;
  size_t i = 0;
  for (; i + lanes <= n_pairs; i += lanes) {
    const VF a = hn::LoadU(d, low + i), b = hn::LoadU(d, high + i);
    const VF c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, low + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, high + i);
  }
  for (; i < n_pairs; ++i) {
    const float a = low[i], b = high[i];
    low[i] = a * cos[i] - b * sin[i];
    high[i] = b * cos[i] + a * sin[i];
  }
}

void RopeInterleaved(float* head, const float* cos, const float* sin, size_t n_pairs) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n_pairs; i += lanes) {
    VF a, b;
    hn::LoadInterleaved2(d, head + 2 * i, a, b);
    const VF c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    hn::StoreInterleaved2(hn::NegMulAdd(b, s, hn::Mul(a, c)), hn::MulAdd(a, s, hn::Mul(b, c)), d, head + 2 * i);
  }
  for (; i < n_pairs; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = a * cos[i] - b * sin[i];
    head[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

// Four accumulators hide FMA latency.
float Dot(const float* a, const float* b, size_t n) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  VF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), s1);
    s2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), s2);
    s3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), s3);
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
  float total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

void ToF16(const float* x, f16* y, size_t n) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SSSE3 && HWY_TARGET != HWY_SSE4
  // The targets left out emulate DemoteTo, with another rounding.
  const DF d;
  const hn::Rebind<hwy::float16_t, DF> dh;
  const size_t lanes = hn::Lanes(d);
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::DemoteTo(dh, hn::LoadU(d, x + i)), dh, reinterpret_cast<hwy::float16_t*>(y + i));
#endif
  for (; i < n; ++i) y[i] = hunch::to_f16(x[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(LayerNorm);
HWY_EXPORT(RmsNorm);
HWY_EXPORT(Activate);
HWY_EXPORT(Add);
HWY_EXPORT(Multiply);
HWY_EXPORT(Scale);
HWY_EXPORT(SoftCap);
HWY_EXPORT(Axpy);
HWY_EXPORT(LogSumExp);
HWY_EXPORT(Softmax);
HWY_EXPORT(Argmax);
HWY_EXPORT(RopeHalves);
HWY_EXPORT(RopeInterleaved);
HWY_EXPORT(Dot);
HWY_EXPORT(ToF16);

void layer_norm(std::span<const float> x, std::span<const float> weight, std::span<const float> bias, float eps,
                std::span<float> y) {
  if (x.empty()) return;
  HWY_DYNAMIC_DISPATCH(LayerNorm)(x.data(), weight.data(), bias.data(), eps, y.data(), x.size());
}
void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::span<float> y) {
  if (x.empty()) return;
  HWY_DYNAMIC_DISPATCH(RmsNorm)(x.data(), weight.data(), eps, y.data(), x.size());
}
void activate(Activation activation, std::span<float> x, float threshold) {
  HWY_DYNAMIC_DISPATCH(Activate)(activation, threshold, x.data(), x.size());
}
void add(std::span<const float> x, std::span<float> y) { HWY_DYNAMIC_DISPATCH(Add)(x.data(), y.data(), y.size()); }
void multiply(std::span<const float> x, std::span<float> y) {
  HWY_DYNAMIC_DISPATCH(Multiply)(x.data(), y.data(), y.size());
}
void scale(float s, std::span<float> x) { HWY_DYNAMIC_DISPATCH(Scale)(s, x.data(), x.size()); }
void soft_cap(float cap, std::span<float> x) { HWY_DYNAMIC_DISPATCH(SoftCap)(cap, x.data(), x.size()); }
void axpy(float a, std::span<const float> x, std::span<float> y) {
  HWY_DYNAMIC_DISPATCH(Axpy)(a, x.data(), y.data(), y.size());
}
float log_sum_exp(std::span<const float> x) { return HWY_DYNAMIC_DISPATCH(LogSumExp)(x.data(), x.size()); }
float softmax(std::span<float> x) { return HWY_DYNAMIC_DISPATCH(Softmax)(x.data(), x.size()); }
size_t argmax(std::span<const float> x) { return HWY_DYNAMIC_DISPATCH(Argmax)(x.data(), x.size()); }
void rope(std::span<float> head, std::span<const float> cos, std::span<const float> sin, bool interleaved) {
  if (interleaved) {
    HWY_DYNAMIC_DISPATCH(RopeInterleaved)(head.data(), cos.data(), sin.data(), cos.size());
  } else {
    HWY_DYNAMIC_DISPATCH(RopeHalves)(head.data(), cos.data(), sin.data(), cos.size());
  }
}
float dot(std::span<const float> a, std::span<const float> b) {
  return HWY_DYNAMIC_DISPATCH(Dot)(a.data(), b.data(), a.size());
}
void to_f16(std::span<const float> x, std::span<f16> y) { HWY_DYNAMIC_DISPATCH(ToF16)(x.data(), y.data(), x.size()); }

}  // namespace hunch
#endif  // HWY_ONCE
