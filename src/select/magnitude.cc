#include "select/magnitude.h"

#include <algorithm>
#include <cmath>

#include "kernels/ops.h"

namespace hunch {

void select_magnitude(std::span<const float> x, float threshold, Selection& out) {
  constexpr size_t kPart = 1024;
  float above[kPart];
  uint32_t ids[kPart];
  std::vector<uint32_t>& rows = out.refill(x.size());
  for (size_t i = 0; i < x.size(); i += kPart) {
    const std::span<const float> part = x.subspan(i, std::min(kPart, x.size() - i));
    for (size_t k = 0; k < part.size(); ++k) above[k] = std::abs(part[k]) <= threshold ? 0.0f : 1.0f;
    rows.insert(rows.end(), ids, ids + nonzero_ids({above, part.size()}, uint32_t(i), ids));
  }
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
