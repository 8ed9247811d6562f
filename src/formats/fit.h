// Weighted least squares, as encoders of blocks fit scales (and minima) to values. Every fit starts from a few guesses
// and alternates between the nearest codes and the scale that is best for them; the least error of all wins.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/round_small.h"
#include "formats/scale.h"

namespace hunch::fit {

// The sum of term(i) for i in [0, N), in eight lanes, so that compilers vectorise it.
template <int N, class Term>
inline float sum(const Term& term) {
  float lane[8] = {};
  for (int i = 0; i < N; i += 8)
    for (int l = 0; l < 8; ++l) lane[l] += term(i + l);
  return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

// Weights of the N values from `at` on: their importance, or ones; ones too where nothing there has any.
template <int N>
struct Weights {
  float w[N];
  Weights(const float* importance, size_t at) {
    float most = 0;
    for (int i = 0; importance && i < N; ++i) most = std::max(most, importance[at + size_t(i)]);
    for (int i = 0; i < N; ++i) w[i] = most > 0 ? importance[at + size_t(i)] : 1.0f;
  }
};

// The value of largest magnitude, the first of several. Magnitudes are compared as bits, which have the order of the
// values and let the compiler vectorise.
template <int N>
inline float extreme(const float* x) {
  const auto magnitude = [](float v) { return int32_t(std::bit_cast<uint32_t>(v) & 0x7fffffffu); };
  int32_t largest = 0;
  for (int i = 0; i < N; ++i) largest = std::max(largest, magnitude(x[i]));
  if (largest == 0) return 0;  // not the sign of a zero
  for (int i = 0; i < N; ++i)
    if (magnitude(x[i]) == largest) return x[i];
  return 0;  // not reached
}

// Below this a scale's inverse would leave the range of f32: such blocks count as zeros.
constexpr float kLeast = 1e-30f;

// q[i] becomes the integer of kLow .. kHigh nearest to it; NaN stays. As std::clamp and round_small, in loops without a
// jump, which is what compilers vectorise.
template <int N, int kLow, int kHigh>
inline void to_codes(float* q) {
#pragma GCC unroll 1
  for (int i = 0; i < N; ++i) q[i] = q[i] < float(kLow) ? float(kLow) : q[i];
#pragma GCC unroll 1
  for (int i = 0; i < N; ++i) q[i] = float(kHigh) < q[i] ? float(kHigh) : q[i];
#pragma GCC unroll 1
  for (int i = 0; i < N; ++i) q[i] = float(round_small(q[i]));
}

// x ~ scale * q, q an integer in [kLow, kHigh].
template <int N, int kLow, int kHigh>
struct Symmetric {
  const float *x, *w;

  using Code = float;  // whole numbers; a search has no use for them as integers

  // Codes under `scale` (either sign) and the weighted squared error that they leave.
  float assign(float scale, float* q) const {
    const float inverse = std::fabs(scale) < kLeast ? 0 : 1 / scale;
    for (int i = 0; i < N; ++i) q[i] = x[i] * inverse;
    to_codes<N, kLow, kHigh>(q);
    return sum<N>([&](int i) {
      const float e = scale * q[i] - x[i];
      return w[i] * e * e;
    });
  }
  // The scale of least error: starts that map the extreme value near the code without a counterpart of other sign.
  float best() const {
    const float largest = extreme<N>(x);
    if (std::fabs(largest) < kLeast) return 0;
    float q[N];
    float best = 0, best_error = INFINITY;
    for (const float start : {1.0f, 1.06f, 1.03f, 0.97f, 0.94f, 0.91f, 0.88f, -1.0f}) {
      if (start == -1.0f && kLow < -16) break;  // the ends of many codes are alike
      float scale = largest / (start * float(kLow));
      for (int round = 0; round < 2; ++round) {
        const float error = assign(scale, q);
        if (!(error < INFINITY)) break;
        if (error < best_error) best_error = error, best = scale;
        const float qx = sum<N>([&](int i) { return w[i] * q[i] * x[i]; });
        const float qq = sum<N>([&](int i) { return w[i] * q[i] * q[i]; });
        if (qq > 0) scale = qx / qq;
      }
    }
    return best;
  }
};

// x ~ scale * q - min, q in 0 .. kMax.
struct Affine {
  float scale = 0, min = 0;
};

// Where kAnyMin, min may have either sign; else it is not negative.
template <int N, int kMax, bool kAnyMin = false>
struct WithMinimum {
  const float *x, *w;

  using Code = float;

  float assign(Affine a, float* q) const {
    const float inverse = a.scale < kLeast ? 0 : 1 / a.scale;
    for (int i = 0; i < N; ++i) q[i] = (x[i] + a.min) * inverse;
    to_codes<N, 0, kMax>(q);
    return sum<N>([&](int i) {
      const float e = a.scale * q[i] - a.min - x[i];
      return w[i] * e * e;
    });
  }
  // The best scale and minimum for fixed codes; the scale is not negative.
  Affine solve(const float* codes) const {
    const float ww = sum<N>([&](int i) { return w[i]; });
    const float q = sum<N>([&](int i) { return w[i] * codes[i]; });
    const float qq = sum<N>([&](int i) { return w[i] * codes[i] * codes[i]; });
    const float wx = sum<N>([&](int i) { return w[i] * x[i]; });
    const float qx = sum<N>([&](int i) { return w[i] * codes[i] * x[i]; });
    const float det = ww * qq - q * q;
    Affine a;
    if (det > 0) {
      a.scale = (ww * qx - q * wx) / det;
      a.min = (q * qx - qq * wx) / det;
    }
    if (!kAnyMin && (a.min < 0 || det <= 0)) {
      a.min = 0;
      a.scale = qq > 0 ? qx / qq : 0;
    }
    a.scale = std::max(a.scale, 0.0f);
    return a;
  }
  // Starts from ranges somewhat narrower than the data's: a clipped outlier can pay.
  Affine best() const {
    const auto [lowest, highest] = std::minmax_element(x, x + N);
    const float low = kAnyMin ? *lowest : std::min(*lowest, 0.0f), range = *highest - low;
    if (!(range > 0)) return {0, -low};
    constexpr float kShrink = kMax < 8 ? 0.1f : 0.04f;
    float codes[N];
    Affine best;
    float best_error = INFINITY;
    for (int start = 0; start < 5; ++start) {
      const float shrink = float(start) * kShrink;
      Affine a{range * (1 - shrink) / kMax, -low - range * shrink / 2};
      if (!kAnyMin) a.min = -low * (1 - shrink / 2);
      for (int round = 0; round < 3; ++round) {
        const float error = assign(a, codes);
        if (!(error < INFINITY)) break;
        if (error < best_error) best_error = error, best = a;
        a = solve(codes);
      }
    }
    return best;
  }
};

// x ~ scale * Book::kValues[code], for a book of sixteen ascending values.
template <int N, class Book>
struct FromBook {
  const float *x, *w;
  using Code = uint8_t;

  float assign(float scale, uint8_t* codes) const {
    const float inverse = std::fabs(scale) < kLeast ? 0 : 1 / scale;
    int code[N] = {};
    for (int k = 0; k < 15; ++k) {
      const float between = 0.5f * float(Book::kValues[k] + Book::kValues[k + 1]);
      for (int i = 0; i < N; ++i) code[i] += x[i] * inverse > between;
    }
    float value[N];
    for (int i = 0; i < N; ++i) value[i] = float(Book::kValues[code[i]]);
    for (int i = 0; i < N; ++i) codes[i] = uint8_t(code[i]);
    return sum<N>([&](int i) {
      const float e = scale * value[i] - x[i];
      return w[i] * e * e;
    });
  }
  // Starts that map the extreme value near either end of the book.
  float best() const {
    const float largest = extreme<N>(x);
    if (std::fabs(largest) < kLeast) return 0;
    uint8_t codes[N];
    float best = 0, best_error = INFINITY;
    for (const float end : {float(Book::kValues[0]), float(Book::kValues[15])})
      for (const float start : {1.0f, 1.06f, 0.94f, 0.88f}) {
        float scale = largest / (start * end);
        for (int round = 0; round < 2; ++round) {
          const float error = assign(scale, codes);
          if (!(error < INFINITY)) break;
          if (error < best_error) best_error = error, best = scale;
          const auto value = [&](int i) { return float(Book::kValues[codes[i]]); };
          const float vx = sum<N>([&](int i) { return w[i] * value(i) * x[i]; });
          const float vv = sum<N>([&](int i) { return w[i] * value(i) * value(i); });
          if (vv > 0) scale = vx / vv;
        }
      }
    return best;
  }
};

// Sub-blocks of N values with a scale and a minimum each, integers of 0 .. kMaxScale times a d and a d_min that all
// share, as Q2_K, Q4_K and Q5_K have them.
template <int N, int kSubs, int kMax, int kMaxScale>
struct SubBlocks {
  f16 d, d_min;
  uint8_t scale[kSubs] = {}, min[kSubs] = {}, codes[kSubs][N] = {};

  SubBlocks(const float* x, const float* w) {
    Affine ideal[kSubs];
    float max_scale = 0, max_min = 0;
    for (int j = 0; j < kSubs; ++j) {
      ideal[j] = Fit{x + j * N, w + j * N}.best();
      max_scale = std::max(max_scale, ideal[j].scale);
      max_min = std::max(max_min, ideal[j].min);
    }
    d = finite_f16(max_scale / kMaxScale);
    d_min = finite_f16(max_min / kMaxScale);
    for (int j = 0; j < kSubs; ++j) choose({x + j * N, w + j * N}, ideal[j], j);
  }

 private:
  using Fit = WithMinimum<N, kMax>;

  // The neighbours of the ideal integers with the least error on this sub-block.
  void choose(const Fit& fit, Affine ideal, int j) {
    const float to_d = to_f32(d), to_min = to_f32(d_min);
    const int scale0 = int(std::lrintf(ideal.scale * inverse_or_zero(to_d)));
    const int min0 = int(std::lrintf(ideal.min * inverse_or_zero(to_min)));
    float best_error = INFINITY;
    float trial[N], best[N] = {};
    for (int s = std::clamp(scale0 - 1, 0, kMaxScale); s <= std::min(scale0 + 1, kMaxScale); ++s)
      for (int m = std::clamp(min0 - 1, 0, kMaxScale); m <= std::min(min0 + 1, kMaxScale); ++m) {
        const float error = fit.assign({to_d * float(s), to_min * float(m)}, trial);
        if (error < best_error) {
          best_error = error;
          scale[j] = uint8_t(s);
          min[j] = uint8_t(m);
          std::memcpy(best, trial, sizeof best);
        }
      }
    for (int i = 0; i < N; ++i) codes[j][i] = uint8_t(best[i]);
  }
};

// Sub-blocks of N values with a signed integer scale each, -kMost .. kMost - 1 times a d that all share, as Q3_K, Q6_K
// and IQ4_XS have them. Fit: Symmetric or FromBook.
template <int N, int kSubs, int kMost, class Fit, class Code>
struct SignedSubBlocks {
  f16 d;
  int8_t scale[kSubs] = {};
  Code codes[kSubs][N] = {};

  SignedSubBlocks(const float* x, const float* w) {
    float ideal[kSubs], largest = 0;
    for (int j = 0; j < kSubs; ++j) {
      ideal[j] = Fit{x + j * N, w + j * N}.best();
      if (std::fabs(ideal[j]) > std::fabs(largest)) largest = ideal[j];
    }
    d = finite_f16(largest / float(-kMost));
    const float to_d = to_f32(d);
    for (int j = 0; j < kSubs; ++j) {
      const Fit fit{x + j * N, w + j * N};
      const float near = std::clamp(ideal[j] * inverse_or_zero(to_d), float(-kMost), float(kMost - 1));
      const int scale0 = int(std::lrintf(near));
      float best_error = INFINITY;
      typename Fit::Code trial[N], best[N] = {};
      for (int s = std::max(scale0 - 1, -kMost); s <= std::min(scale0 + 1, kMost - 1); ++s) {
        const float error = fit.assign(to_d * float(s), trial);
        if (error < best_error) {
          best_error = error;
          scale[j] = int8_t(s);
          std::memcpy(best, trial, sizeof best);
        }
      }
      for (int i = 0; i < N; ++i) codes[j][i] = Code(best[i]);
    }
  }
};

}  // namespace hunch::fit
