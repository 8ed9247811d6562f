#include "select/heavy_hitters.h"

#include <algorithm>

namespace hunch {

void HeavyHitters::keep(size_t n_slots, size_t budget, std::vector<uint32_t>& kept) const {
  kept.clear();
  if (n_slots <= budget) return append_range(0, n_slots, kept);
  const size_t n_recent = std::min(n_recent_.value_or(budget - budget / 2), budget);
  append_heaviest(scores(), 0, n_slots - n_recent, budget - n_recent, kept);
  append_range(n_slots - n_recent, n_slots, kept);
}

}  // namespace hunch
