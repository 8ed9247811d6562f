#include "linear/ordered.h"

#include "base/error.h"

namespace hunch {

Ordered::Ordered(std::unique_ptr<Linear> base, std::vector<uint32_t> order)
    : MovedInputs(std::move(base)), order_(std::move(order)) {
  HUNCH_CHECK(order_.size() == n_in, "an order of {} for {} inputs", order_.size(), n_in);
}

void Ordered::meet(std::span<const float> x, std::span<float> to) const {
  for (size_t j = 0; j < to.size(); ++j) to[j] = x[order_[j]];
}

void Ordered::take_back(std::span<const float> row, std::span<float> to) const {
  for (size_t j = 0; j < row.size(); ++j) to[order_[j]] = row[j];
}

}  // namespace hunch
