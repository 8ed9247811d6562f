// The sixteen values that four bits stand for in the formats that look them up.
#pragma once
#include <bit>
#include <cstdint>

namespace hunch {

// IQ4_NL and IQ4_XS: denser around zero, where weights are.
struct Iq4Values {
  static constexpr int8_t kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
};

// MXFP4 and NVFP4: twice the values of a float of a sign, two bits of exponent and one of mantissa (OCP's E2M1).
struct E2m1Values {
  static constexpr int8_t kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
};

// 2^(e - 128): half of what MXFP4's exponent e means, for the book has twice the floats' values. 255, which is no
// number in the standard, is 2^127, as in ggml.
inline float half_power(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? uint32_t{0x00200000} << e : uint32_t(e - 1) << 23);
}

}  // namespace hunch
