#include "select/relu_zeros.h"

#include <algorithm>

#include "kernels/ops.h"

namespace hunch {

void select_nonzero(std::span<const float> ff_act, Rows& out) {
  // By way of a small buffer: resizing the vector to its largest possible length first would clear it all.
  uint32_t ids[1024];
  std::vector<uint32_t>& rows = out.refill(ff_act.size());
  for (size_t i = 0; i < ff_act.size(); i += std::size(ids)) {
    const auto part = ff_act.subspan(i, std::min(std::size(ids), ff_act.size() - i));
    rows.insert(rows.end(), ids, ids + nonzero_ids(part, uint32_t(i), ids));
  }
}

}  // namespace hunch
