#include "select/threshold.h"

#include <algorithm>

#include "kernels/ops.h"

namespace hunch {

void select_above(std::span<const float> score, float threshold, Selection& out) {
  constexpr size_t kPart = 1024;
  float above[kPart];
  uint32_t ids[kPart];
  std::vector<uint32_t>& rows = out.refill(score.size());
  for (size_t i = 0; i < score.size(); i += kPart) {
    const std::span<const float> part = score.subspan(i, std::min(kPart, score.size() - i));
    for (size_t k = 0; k < part.size(); ++k) above[k] = part[k] <= threshold ? 0.0f : 1.0f;
    rows.insert(rows.end(), ids, ids + nonzero_ids({above, part.size()}, uint32_t(i), ids));
  }
}

}  // namespace hunch
