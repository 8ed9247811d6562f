// E4M3: floats of 8 bits, without infinities (Micikevicius et al. 2022, "FP8 Formats for Deep Learning").
#pragma once
#include <cmath>
#include <cstdint>

namespace hunch {

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

}  // namespace hunch
