#include "measure/expert_load.h"

#include <algorithm>
#include <numeric>

namespace hunch {

const std::vector<double> ExpertLoad::kFactors = {0.5, 1, 1.25, 1.5, 2};

void ExpertLoad::observe(const ExpertGateConfig& gate, MatView<const float> logits) {
  memory_.gate.choose(gate, logits, memory_.choices);
  for (uint32_t e : memory_.choices.expert) ++counts_[e];
  n_tokens_ += logits.rows;
  n_choices_ += memory_.choices.expert.size();
  for (size_t i = 0; i < kFactors.size(); ++i) {
    const size_t capacity = expert_capacity(logits.rows, logits.cols, gate.k, kFactors[i], true);
    route_within_capacity(memory_.choices, std::max<size_t>(1, capacity), QueueOrder::kByToken, routing_);
    refused_[i] += std::accumulate(routing_.refused.begin(), routing_.refused.end(), uint64_t{0});
    dropped_[i] += routing_.n_dropped;
  }
}

std::vector<CapacityPrice> ExpertLoad::prices() const {
  std::vector<CapacityPrice> out;
  for (size_t i = 0; i < kFactors.size(); ++i)
    out.push_back({kFactors[i], double(refused_[i]) / double(std::max<size_t>(1, n_choices_)),
                   double(dropped_[i]) / double(std::max<size_t>(1, n_tokens_))});
  return out;
}

}  // namespace hunch
