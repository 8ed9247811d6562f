#include "select/streaming_llm.h"

#include <algorithm>

namespace hunch {

void StreamingLlm::keep(size_t n_slots, size_t budget, std::vector<uint32_t>& kept) const {
  kept.clear();
  if (n_slots <= budget) return append_range(0, n_slots, kept);
  const size_t n_sink = std::min(n_sink_, budget);
  append_range(0, n_sink, kept);
  append_range(n_slots - (budget - n_sink), n_slots, kept);
}

}  // namespace hunch
