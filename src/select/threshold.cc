#include "select/threshold.h"

#include "select/where.h"

namespace hunch {

void select_above(std::span<const float> score, float threshold, Rows& out) {
  select_where(score, out, [=](float v) { return !(v <= threshold); });  // NaN is kept
}

}  // namespace hunch
