// Rounding that compilers vectorise, which std::lrint is not.
#pragma once
#include <bit>
#include <cstdint>

namespace hunch {

// The integer nearest x, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves it in the mantissa's low bits.
inline int32_t round_small(float x) {
  return std::bit_cast<int32_t>(x + 0x1.8p23f) - std::bit_cast<int32_t>(0x1.8p23f);
}

}  // namespace hunch
