#include "model/plan.h"

#include <algorithm>

#include "select/selectors.h"

namespace hunch {

Plan Plan::exact(const ModelConfig& config) {
  Plan plan;
  plan.name = "exact";
  const auto zeros = std::make_shared<const ReluZeros>();
  if (is_relu_family(config.activation))
    for (size_t l = 0; l < config.n_layer; ++l) plan.set(l, Point::kLive, {zeros});
  return plan;
}

void Plan::set(size_t layer, Point point, PlanEntry entry, InputPart part) {
  if (layers_.size() <= layer) layers_.resize(layer + 1);
  layers_[layer][slot(point, part)] = std::move(entry);
}

const PlanEntry& Plan::at(size_t layer, Point point, InputPart part) const {
  static const PlanEntry kNobody;
  return layer < layers_.size() ? layers_[layer][slot(point, part)] : kNobody;
}

bool Plan::uses(Point point) const {
  return std::ranges::any_of(layers_, [&](const auto& entries) {
    if (point != Point::kInputs) return bool(entries[slot(point, InputPart::kAttention)].selector);
    return std::any_of(entries.begin(), entries.begin() + kNInputParts, [](auto& e) { return bool(e.selector); });
  });
}

}  // namespace hunch
