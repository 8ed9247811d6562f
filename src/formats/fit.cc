#include "formats/fit.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/code_book.h"
#include "formats/four.h"
#include "formats/scale.h"

namespace hunch::fit {

template <int kLow, int kHigh>
struct Whole {
  static Four nearest(Four v) { return round(min(max(v, four(kLow)), four(kHigh))); }
  static Four code(Four v) { return nearest(v); }
  // What the extreme value becomes at first: near the code without a counterpart of other sign. The ends of many codes
  // are alike.
  static constexpr float kLowEnd = float(kLow);
  static constexpr float kStarts[] = {kLowEnd,         1.06f * kLowEnd, 1.03f * kLowEnd, 0.97f * kLowEnd,
                                      0.94f * kLowEnd, 0.91f * kLowEnd, 0.88f * kLowEnd, -kLowEnd};
  static constexpr int kNStarts = kLow < -16 ? 7 : 8;
};

template <class B>
struct FromBook {
  static Four between(int k) { return four(0.5f * float(B::kValues[k] + B::kValues[k + 1])); }
  static Four nearest(Four v) {
    Four value = four(B::kValues[0]);
    for (int k = 0; k < 15; ++k) value += v > between(k) ? four(float(B::kValues[k + 1] - B::kValues[k])) : four(0);
    return value;
  }
  static Four code(Four v) {
    Four code = four(0);
    for (int k = 0; k < 15; ++k) code += v > between(k) ? four(1) : four(0);
    return code;
  }
  // Near either end of the book.
  static constexpr float kFirst = B::kValues[0], kLast = B::kValues[15];
  static constexpr float kStarts[] = {kFirst, 1.06f * kFirst, 0.94f * kFirst, 0.88f * kFirst,
                                      kLast,  1.06f * kLast,  0.94f * kLast,  0.88f * kLast};
  static constexpr int kNStarts = 8;
};

namespace {

// Of x ~ scale * q: the squared error, and the sums over q that tell what would be best for these codes.
struct Sums {
  Four error = four(0), qx = four(0), qq = four(0);
};
template <class Values, int N>
Sums sums_of(const FourBlocks<N>& b, Four scale) {
  const Four inverse = inverses(scale);
  Sums sums;
  for (int i = 0; i < N; ++i) {
    const Four q = Values::nearest(b.x[i] * inverse), wq = b.w[i] * q, e = scale * q - b.x[i];
    sums.error += b.w[i] * e * e;
    sums.qx += wq * b.x[i];
    sums.qq += wq * q;
  }
  return sums;
}

// The scales of least error. For fixed codes q the best is qx / qq, and lowers the error by qx^2 / qq.
template <class Values, int N>
Four best_scale(const FourBlocks<N>& b) {
  const Four extreme = b.extreme(), inverse_extreme = inverses(extreme);
  Four best = extreme * (1 / Values::kStarts[0]), best_gain = four(0);
  best = abs(extreme) < kLeast ? four(0) : best;
  const auto try_codes = [&](Four inverse) {
    Four qx = four(0), qq = four(0);
    for (int i = 0; i < N; ++i) {
      const Four q = Values::nearest(b.x[i] * inverse), wq = b.w[i] * q;
      qx += wq * b.x[i];
      qq += wq * q;
    }
    const Four scale = qq > 0 ? qx / qq : four(0), gain = scale * qx;
    const FourMask better = (gain > best_gain) & (gain < INFINITY);
    best = better ? scale : best;
    best_gain = better ? gain : best_gain;
  };
  for (int start = 0; start < Values::kNStarts; ++start) try_codes(Values::kStarts[start] * inverse_extreme);
  if (b.weighted)  // then the largest value may be one that hardly counts
    for (int start = 0; start < 8; ++start)
      try_codes((0.7f + 0.1f * float(start)) * Values::kStarts[0] * inverse_extreme);
  for (int turn = 0; turn < 2; ++turn) try_codes(inverses(best));
  return best;
}

struct Affine {
  Four scale, min;
};

// Of x ~ scale * q - min: the error, and the sums over codes q that tell what would be best for them.
template <int kMax, int N>
struct Trial {
  Four error = four(0), q = four(0), qq = four(0), qx = four(0);

  Trial(const FourBlocks<N>& b, Affine a) {
    const Four inverse = inverses(a.scale);
    for (int i = 0; i < N; ++i) {
      const Four x = b.x[i] + a.min, code = Whole<0, kMax>::nearest(x * inverse), wq = b.w[i] * code;
      const Four e = a.scale * code - x;
      error += b.w[i] * e * e;
      q += wq;
      qq += wq * code;
      qx += wq * b.x[i];
    }
  }
};

// Where kAnyMin, min may have either sign; else it is not negative. Starts from ranges somewhat narrower than the
// data's: a clipped outlier can pay. Where values differ in weight there are more minima, and more starts: the range in
// somewhat fewer steps than there are, or more.
template <int kMax, bool kAnyMin, int N>
Affine best_range(const FourBlocks<N>& b) {
  Four low = kAnyMin ? b.x[0] : four(0), high = b.x[0], w = four(0), wx = four(0);
  for (int i = 0; i < N; ++i) {
    low = min(low, b.x[i]);
    high = max(high, b.x[i]);
    w += b.w[i];
    wx += b.w[i] * b.x[i];
  }
  const Four range = high - low;
  constexpr float kShrink = kMax < 8 ? 0.1f : 0.04f;
  constexpr int kStarts = 5, kWeightedStarts = 10;
  Affine best{range * (1.0f / kMax), -low};
  Four best_error = four(INFINITY);
  for (int start = 0; start < kStarts + (b.weighted ? kWeightedStarts : 0); ++start) {
    const float shrink = float(start) * kShrink;
    Affine a{range * ((1 - shrink) / kMax), kAnyMin ? -low - range * (shrink / 2) : -low * (1 - shrink / 2)};
    if (start >= kStarts) a = {range / (float(kMax - 2) + 0.4f * float(start - kStarts)), -low};
    for (int turn = 0; turn < 3; ++turn) {
      const Trial<kMax, N> t(b, a);
      const FourMask better = t.error < best_error;
      best_error = better ? t.error : best_error;
      best = {better ? a.scale : best.scale, better ? a.min : best.min};
      const Four det = w * t.qq - t.q * t.q;
      a.scale = det > 0 ? (w * t.qx - t.q * wx) / det : four(0);
      a.min = det > 0 ? (t.q * t.qx - t.qq * wx) / det : four(0);
      if (!kAnyMin) {
        const FourMask from_zero = (a.min < 0) | (det <= 0);
        a.min = from_zero ? four(0) : a.min;
        a.scale = from_zero ? (t.qq > 0 ? t.qx / t.qq : four(0)) : a.scale;
      }
      a.scale = max(a.scale, four(0));
    }
  }
  return best;
}

// Codes of four sub-blocks to where they are kept.
template <class Values, int N, class Code>
void keep_codes(const FourBlocks<N>& b, Four scale, Four min, Code* codes) {
  const Four inverse = inverses(scale);
  for (int i = 0; i < N; ++i) {
    const Four code = Values::code((b.x[i] + min) * inverse);
    for (int l = 0; l < 4; ++l) codes[l * N + i] = Code(code[l]);
  }
}

}  // namespace

template <int kLow, int kHigh>
void whole_scales(const float* x, const float* importance, size_t n, float scale[4]) {
  const Four best = best_scale<Whole<kLow, kHigh>>(FourBlocks<32>(x, importance, n));
  for (int l = 0; l < 4; ++l) scale[l] = best[l];
}

template <class Book>
void book_scales(const float* x, const float* importance, size_t n, float scale[4]) {
  const Four best = best_scale<FromBook<Book>>(FourBlocks<32>(x, importance, n));
  for (int l = 0; l < 4; ++l) scale[l] = best[l];
}

template <class Book>
void book_codes(const float* x, float scale, uint8_t codes[32]) {
  keep_codes<FromBook<Book>>(FourBlocks<8>(x, nullptr), four(scale), four(0), codes);
}

void exponents(const float* x, const float* importance, size_t n, uint8_t e[4]) {
  using Book = E2m1Values;
  const FourBlocks<32> b(x, importance, n);
  const Four largest = abs(b.extreme()), inverse_largest = inverses(largest);
  Four best_error = four(INFINITY);
  std::memset(e, 0, 4);
  for (int by = -1; by <= 1; ++by) {
    uint8_t trial[4];
    Four scale, error = four(0);
    for (int l = 0; l < 4; ++l) {
      trial[l] = largest[l] < kLeast ? 0 : uint8_t(std::clamp(std::ilogb(largest[l]) - 2 + 127 + by, 0, 254));
      scale[l] = half_power(trial[l]);
    }
    Four between[7];
    for (int k = 0; k < 7; ++k) between[k] = scale * (0.5f * float(Book::kValues[k] + Book::kValues[k + 1]));
    for (int i = 0; i < 32; ++i) {
      const Four magnitude = abs(b.x[i]);
      Four value = four(0);
      for (int k = 0; k < 7; ++k)
        value += magnitude > between[k] ? four(float(Book::kValues[k + 1] - Book::kValues[k])) : four(0);
      const Four off = (scale * value - magnitude) * inverse_largest;  // its square stays finite
      error += b.w[i] * off * off;
    }
    for (int l = 0; l < 4; ++l)
      if (error[l] < best_error[l]) best_error[l] = error[l], e[l] = trial[l];
  }
}

template <int kMax>
void ranges(const float* x, const float* importance, size_t n, float scale[4], float min[4]) {
  const Affine best = best_range<kMax, true>(FourBlocks<32>(x, importance, n));
  for (int l = 0; l < 4; ++l) scale[l] = best.scale[l], min[l] = best.min[l];
}

template <int N, int kSubs, int kMax, int kMaxScale>
SubBlocks<N, kSubs, kMax, kMaxScale>::SubBlocks(const float* x, const float* importance) {
  FourBlocks<N> blocks[kSubs / 4];
  for (int j = 0; j < kSubs; j += 4) blocks[j / 4] = {x + j * N, importance ? importance + j * N : nullptr};
  Affine ideal[kSubs / 4];
  float max_scale = 0, max_min = 0;
  for (int j = 0; j < kSubs; j += 4) {
    const Affine a = ideal[j / 4] = best_range<kMax, false>(blocks[j / 4]);
    for (int l = 0; l < 4; ++l) max_scale = std::max(max_scale, a.scale[l]), max_min = std::max(max_min, a.min[l]);
  }
  d = finite_f16(max_scale / kMaxScale);
  d_min = finite_f16(max_min / kMaxScale);
  const float to_d = to_f32(d), to_min = to_f32(d_min);
  // The neighbours of the ideal integers with the least error.
  const auto nearest = [](Four v) { return Whole<0, kMaxScale>::nearest(v); };
  for (int j = 0; j < kSubs; j += 4) {
    const FourBlocks<N>& b = blocks[j / 4];
    const Four scale0 = nearest(ideal[j / 4].scale * inverse_or_zero(to_d));
    const Four min0 = nearest(ideal[j / 4].min * inverse_or_zero(to_min));
    Four best_error = four(INFINITY), best_scale = scale0, best_min = min0;
    for (const float by : {-1.0f, 0.0f, 1.0f})
      for (const float min_by : {-1.0f, 0.0f, 1.0f}) {
        const Four s = nearest(scale0 + by), m = nearest(min0 + min_by);
        const Four scale_s = s * to_d, min_m = m * to_min, inverse = inverses(scale_s);
        Four error = four(0);
        for (int i = 0; i < N; ++i) {
          const Four v = b.x[i] + min_m, e = scale_s * Whole<0, kMax>::nearest(v * inverse) - v;
          error += b.w[i] * e * e;
        }
        const FourMask better = error < best_error;
        best_error = better ? error : best_error;
        best_scale = better ? s : best_scale;
        best_min = better ? m : best_min;
      }
    for (int l = 0; l < 4; ++l) scale[j + l] = uint8_t(best_scale[l]), min[j + l] = uint8_t(best_min[l]);
    keep_codes<Whole<0, kMax>>(b, best_scale * to_d, best_min * to_min, codes + j * N);
  }
}

template <int N, int kSubs, int kMost, class Values>
SignedSubBlocks<N, kSubs, kMost, Values>::SignedSubBlocks(const float* x, const float* importance) {
  FourBlocks<N> blocks[kSubs / 4];
  for (int j = 0; j < kSubs; j += 4) blocks[j / 4] = {x + j * N, importance ? importance + j * N : nullptr};
  Four scales[kSubs / 4];
  float largest = 0;
  for (int j = 0; j < kSubs; j += 4) {
    const Four s = scales[j / 4] = best_scale<Values>(blocks[j / 4]);
    for (int l = 0; l < 4; ++l) largest = std::fabs(s[l]) > std::fabs(largest) ? s[l] : largest;
  }
  d = finite_f16(largest / float(-kMost));
  const float to_d = to_f32(d);
  // The neighbours of the ideal integers with the least error, and what then would be the best d.
  const auto nearest = [](Four v) { return Whole<-kMost, kMost - 1>::nearest(v); };
  Four qx = four(0), qq = four(0);
  for (int j = 0; j < kSubs; j += 4) {
    const FourBlocks<N>& b = blocks[j / 4];
    const Four scale0 = nearest(scales[j / 4] * inverse_or_zero(to_d));
    scales[j / 4] = scale0;
    Sums best{.error = four(INFINITY)};
    for (const float by : {-1.0f, 0.0f, 1.0f}) {
      const Four s = nearest(scale0 + by);
      const Sums t = sums_of<Values>(b, s * to_d);
      const FourMask better = t.error < best.error;
      best = {better ? t.error : best.error, better ? t.qx : best.qx, better ? t.qq : best.qq};
      scales[j / 4] = better ? s : scales[j / 4];
    }
    qx += scales[j / 4] * best.qx;
    qq += scales[j / 4] * scales[j / 4] * best.qq;
  }
  const float sum_qx = sum(qx), sum_qq = sum(qq);
  if (sum_qq > 0 && std::fabs(sum_qx) < INFINITY && sum_qq < INFINITY) d = finite_f16(sum_qx / sum_qq);
  for (int j = 0; j < kSubs; j += 4) {
    for (int l = 0; l < 4; ++l) scale[j + l] = int8_t(scales[j / 4][l]);
    keep_codes<Values>(blocks[j / 4], scales[j / 4] * to_f32(d), four(0), codes + j * N);
  }
}

template void whole_scales<-8, 7>(const float*, const float*, size_t, float[4]);    // Q4_0
template void whole_scales<-16, 15>(const float*, const float*, size_t, float[4]);  // Q5_0
template void book_scales<Iq4Values>(const float*, const float*, size_t, float[4]);
template void book_codes<Iq4Values>(const float*, float, uint8_t[32]);
template void ranges<15>(const float*, const float*, size_t, float[4], float[4]);  // Q4_1
template void ranges<31>(const float*, const float*, size_t, float[4], float[4]);  // Q5_1
template struct SubBlocks<16, 16, 3, 15>;                                          // Q2_K
template struct SubBlocks<32, 8, 15, 63>;                                          // Q4_K
template struct SubBlocks<32, 8, 31, 63>;                                          // Q5_K
template struct SignedSubBlocks<16, 16, 32, Whole<-4, 3>>;                         // Q3_K
template struct SignedSubBlocks<16, 16, 128, Whole<-32, 31>>;                      // Q6_K
template struct SignedSubBlocks<32, 8, 32, FromBook<Iq4Values>>;                   // IQ4_XS

}  // namespace hunch::fit
