#include "select/magnitude.h"

#include <cmath>

#include "select/where.h"

namespace hunch {

void select_magnitude(std::span<const float> x, float threshold, Rows& out) {
  select_where(x, out, [=](float v) { return !(std::abs(v) <= threshold); });  // NaN is kept
}

}  // namespace hunch
