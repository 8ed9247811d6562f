// How evenly a mixture's tokens fall on its experts, and what a limit on each expert would refuse.
#pragma once
#include <cstdint>
#include <vector>

#include "select/expert_selector.h"

namespace hunch {

// What experts that take at most factor * n_tokens * k / n_expert tokens of each group refuse, in order of the tokens
// (Fedus et al. 2022, arXiv:2101.03961, section 2.2).
struct CapacityPrice {
  double factor = 1;
  double overflow = 0;  // share of the tokens' choices that found their expert full
  double dropped = 0;   // share of the tokens that got no expert at all
};

// Of one layer.
class ExpertLoad {
 public:
  explicit ExpertLoad(size_t n_expert) : counts_(n_expert), refused_(kFactors.size()), dropped_(kFactors.size()) {}

  // A group of tokens that are computed together: logits [n_tokens, n_expert] of the router, and how it chooses.
  void observe(const ExpertGateConfig& gate, MatView<const float> logits);
  // The experts of each token of the last group, best first, [n_tokens, k].
  const ExpertChoices& choices() const { return memory_.choices; }

  const std::vector<uint32_t>& counts() const { return counts_; }  // [n_expert] tokens that chose it
  std::vector<CapacityPrice> prices() const;

  static const std::vector<double> kFactors;

 private:
  std::vector<uint32_t> counts_;
  std::vector<uint64_t> refused_, dropped_;  // of each factor
  size_t n_tokens_ = 0, n_choices_ = 0;
  RoutingMemory memory_;
  Routing routing_;
};

}  // namespace hunch
