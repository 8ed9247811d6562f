// The f16 scale of a block, as encoders choose it.
#pragma once
#include "base/half.h"

namespace hunch {

// A scale as f16, never infinite: the largest half instead. A scale below the smallest half becomes 0,
// and the block with it.
inline f16 finite_f16(float value) {
  constexpr float kMax = 65504.0f;
  return to_f16(value > kMax ? kMax : value < -kMax ? -kMax : value);
}

// 1 / x, and 0 for 0 or where the quotient would overflow (|x| < 2^-126 cannot come from an f16).
inline float inverse_or_zero(float x) { return x == 0 ? 0 : 1 / x; }

}  // namespace hunch
