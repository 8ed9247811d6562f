// Weighted least squares, as encoders of blocks fit scales (and minima) to values. Every fit starts from a few guesses
// and alternates between the nearest codes and the scale that is best for them; the least error of all wins. Four
// blocks are fitted side by side (four.h), by code that is compiled for one target only: files do not depend on SIMD.
//
// `importance` weighs the squared errors, as in Format::encode: nullptr, or one number of each value.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "base/round_small.h"

namespace hunch::fit {

// The value of largest magnitude, the first of several. Magnitudes are compared as bits, which have the order of the
// values and let the compiler vectorise.
template <int N>
inline float extreme(const float* x) {
  const auto magnitude = [](float v) { return int32_t(std::bit_cast<uint32_t>(v) & 0x7fffffffu); };
  int32_t largest = 0;
  for (int i = 0; i < N; ++i) largest = largest < magnitude(x[i]) ? magnitude(x[i]) : largest;
  if (largest == 0) return 0;  // not the sign of a zero
  for (int i = 0; i < N; ++i)
    if (magnitude(x[i]) == largest) return x[i];
  return 0;  // not reached
}

// The smallest and the largest of N values, a multiple of eight.
struct Range {
  float low, high;
};
template <int N>
inline Range range_of(const float* x) {
  float low[8], high[8];
  for (int l = 0; l < 8; ++l) low[l] = high[l] = x[l];
  for (int i = 8; i < N; i += 8) {
    for (int l = 0; l < 8; ++l) low[l] = x[i + l] < low[l] ? x[i + l] : low[l];
    for (int l = 0; l < 8; ++l) high[l] = high[l] < x[i + l] ? x[i + l] : high[l];
  }
  Range range{low[0], high[0]};
  for (int l = 1; l < 8; ++l) {
    range.low = low[l] < range.low ? low[l] : range.low;
    range.high = range.high < high[l] ? high[l] : range.high;
  }
  return range;
}

// code[i] = the whole number nearest (x[i] - min) * inverse in 0 .. kMax, ties to even, of 32 numbers. In loops that
// compilers vectorise, which they do not where std::clamp hands out references.
template <int kMax>
inline void range_codes(const float* x, float min, float inverse, uint8_t code[32]) {
  int32_t whole[32];
  for (int i = 0; i < 32; ++i) {
    const float v = (x[i] - min) * inverse, from_zero = 0 < v ? v : 0;
    whole[i] = round_small(from_zero < float(kMax) ? from_zero : float(kMax));
  }
  for (int i = 0; i < 32; ++i) code[i] = uint8_t(whole[i]);
}

// Four scales at once, of the n <= 4 blocks of 32 at x: x ~ scale * q, q a whole number in [kLow, kHigh]; of either
// sign.
template <int kLow, int kHigh>
void whole_scales(const float* x, const float* importance, size_t n, float scale[4]);
// x ~ scale * Book::kValues[code].
template <class Book>
void book_scales(const float* x, const float* importance, size_t n, float scale[4]);
// The codes of the values nearest to 32 numbers.
template <class Book>
void book_codes(const float* x, float scale, uint8_t codes[32]);
// MXFP4's exponents, with the least error among those that bring the largest value near the largest float, 6.
void exponents(const float* x, const float* importance, size_t n, uint8_t e[4]);
// x ~ scale * q - min, q in 0 .. kMax, a scale that is not negative and a min of either sign.
template <int kMax>
void ranges(const float* x, const float* importance, size_t n, float scale[4], float min[4]);

// kSubs sub-blocks of N values with a scale and a minimum each, integers of 0 .. kMaxScale times a d and a d_min that
// all share, codes 0 .. kMax, as Q2_K, Q4_K and Q5_K have them.
template <int N, int kSubs, int kMax, int kMaxScale>
struct SubBlocks {
  f16 d, d_min;
  uint8_t scale[kSubs], min[kSubs], codes[kSubs * N];

  SubBlocks(const float* x, const float* importance);
};

// What codes of kLow .. kHigh stand for: themselves.
template <int kLow, int kHigh>
struct Whole;
// ... or what a book of sixteen ascending values says of 0 .. 15.
template <class B>
struct FromBook;

// kSubs sub-blocks of N values with a signed integer scale each, -kMost .. kMost - 1 times a d that all share, as Q3_K,
// Q6_K and IQ4_XS have them. Values: Whole or FromBook.
template <int N, int kSubs, int kMost, class Values>
struct SignedSubBlocks {
  f16 d;
  int8_t scale[kSubs], codes[kSubs * N];

  SignedSubBlocks(const float* x, const float* importance);
};

}  // namespace hunch::fit
