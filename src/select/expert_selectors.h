// Routers for a mixture of experts beside its own gate, with what their papers limit or balance. Weights follow the
// model's gate: its scores, made to sum to 1 over a token's experts where the model does so (of what a full expert
// refused, the weight is lost, as in Switch Transformers).
#pragma once
#include "select/balanced_assignment.h"
#include "select/expert_selector.h"

namespace hunch {

// Another number of experts for each token (Shazeer et al. 2017, arXiv:1701.06538, section 2.1).
class TopExperts final : public ExpertSelector {
 public:
  explicit TopExperts(size_t k) : k_(k) {}
  void check(size_t n_expert) const override;
  void route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory, Routing& out) const override;
  std::string_view kind() const override { return "top"; }

 private:
  size_t k_;
};

// Each expert takes at most n_tokens * k / n_expert * factor tokens of a run, rounded up, and at least one; tokens that
// find no room pass by on the residual (Fedus et al. 2022, arXiv:2101.03961, section 2.2). A token by itself always
// finds room.
class ExpertCapacity final : public ExpertSelector {
 public:
  ExpertCapacity(double factor, QueueOrder order) : factor_(factor), order_(order) {}
  void route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory, Routing& out) const override;
  std::string_view kind() const override { return "capacity"; }

 private:
  double factor_;
  QueueOrder order_;
};

// The following look at all tokens of a run and give each expert its share. Runs of so few tokens that some expert must
// go without (n_tokens * k < n_expert), as in decoding, are routed by the model's own gate, as BASE layers and Megatron
// do outside of training. A token's experts depend on later tokens of its run: for measuring, not for serving;
// the last two allocate.

// Each expert takes the n_tokens * k * factor / n_expert tokens that suit it best (Zhou et al. 2022, arXiv:2202.09368).
class ExpertsChoose final : public ExpertSelector {
 public:
  explicit ExpertsChoose(double factor) : factor_(factor) {}
  void route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory, Routing& out) const override;
  std::string_view kind() const override { return "expert choice"; }

 private:
  double factor_;
};

// The assignment of the largest total score that gives each expert equally many tokens (BASE layers, Lewis et al. 2021,
// arXiv:2103.16716), k times over, each time without the experts that a token has.
class BalancedExperts final : public ExpertSelector {
 public:
  explicit BalancedExperts(Balance balance) : balance_(balance) {}
  void route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory, Routing& out) const override;
  std::string_view kind() const override { return "balanced"; }

 private:
  Balance balance_;
};

// Each token's k largest entries of Sinkhorn's matrix: loads that are nearly equal (Clark et al. 2022,
// arXiv:2202.01169, section 4.1).
class SinkhornExperts final : public ExpertSelector {
 public:
  void route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory, Routing& out) const override;
  std::string_view kind() const override { return "sinkhorn"; }
};

}  // namespace hunch
