#include "select/magnitude.h"

#include <cmath>

#include "select/where.h"

namespace hunch {

void select_magnitude(std::span<const float> x, float threshold, Rows& out) {
  select_where(x, out, [=](float v) { return !(std::abs(v) <= threshold); });  // NaN is kept
}

size_t keep_magnitude(std::span<float> x, float threshold) {
  size_t n = 0;
  for (float& v : x) {
    const bool below = std::abs(v) <= threshold;
    n += !below;
    v = below ? 0.0f : v;
  }
  return n;
}

}  // namespace hunch
