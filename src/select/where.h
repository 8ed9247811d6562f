// Which entries of a vector satisfy a condition, as a Rows. Internal to select/.
#pragma once
#include <algorithm>
#include <span>

#include "base/rows.h"
#include "kernels/ops.h"

namespace hunch {

// `out` becomes the ids i with keeps(x[i]), in parts that stay in L1. Allocates nothing once `out` has held as many.
template <class Keeps>
void select_where(std::span<const float> x, Rows& out, const Keeps& keeps) {
  constexpr size_t kPart = 1024;
  float kept[kPart];
  uint32_t ids[kPart];
  std::vector<uint32_t>& rows = out.refill(x.size());
  for (size_t i = 0; i < x.size(); i += kPart) {
    const std::span<const float> part = x.subspan(i, std::min(kPart, x.size() - i));
    for (size_t k = 0; k < part.size(); ++k) kept[k] = keeps(part[k]) ? 1.0f : 0.0f;
    rows.insert(rows.end(), ids, ids + nonzero_ids({kept, part.size()}, uint32_t(i), ids));
  }
}

}  // namespace hunch
