// E4M3: floats of 8 bits, without infinities (Micikevicius et al. 2022, "FP8 Formats for Deep Learning").
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/round_small.h"

namespace hunch {

constexpr float kE4m3Largest = 448;

// One bit of sign, four of exponent (bias 7), three of mantissa; all ones but the sign are NaN.
inline float e4m3_to_f32(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  float value;
  if (exponent == 15 && mantissa == 7) {
    value = NAN;
  } else if (exponent == 0) {
    value = float(mantissa) * 0x1p-9f;
  } else {
    value = std::ldexp(float(8 + mantissa), exponent - 10);
  }
  return bits & 0x80 ? -value : value;
}

// The nearest of them, ties to the even mantissa; beyond the largest, that one. NaN is the caller's error.
inline uint8_t f32_to_e4m3(float x) {
  const float magnitude = std::min(std::fabs(x), kE4m3Largest);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int e = magnitude < 0x1p-6f ? -6 : exponent - 1;  // of the first bit; below it the steps stay as wide
  const int steps = round_small(std::ldexp(magnitude, 3 - e));
  return uint8_t((x < 0 ? 0x80 : 0) | ((e + 6) * 8 + steps));
}

}  // namespace hunch
