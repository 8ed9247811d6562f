// Who gives tokens to the experts of a mixture: asked at Point::kExperts, with what the router thinks of them.
#pragma once
#include <string>
#include <vector>

#include "select/expert_gate.h"
#include "select/routing.h"
#include "select/selector.h"

namespace hunch {

// Scratch of those who route; kept by whoever asks, so that it grows once.
struct RoutingMemory {
  ExpertGate gate;
  ExpertChoices choices;
  std::vector<float> scores, totals;
};

// What everybody does who is not asked to do otherwise: each token goes to the gate's choice of experts.
void route_as_trained(const ExpertGateConfig& gate, MatView<const float> logits, RoutingMemory& memory, Routing& out);

// Unlike the others it speaks of prompts too: how a mixture routes is not a matter of what is read and what is written.
class ExpertSelector : public Selector {
 public:
  // Experts are no rows of a product: nothing is said of these.
  void choose(Compute&, const Evidence& evidence, std::span<Rows> out) const override {
    for (Rows& rows : out) rows.refill_all(evidence.n_rows);
  }
  // Throws Error{kUsage} where it cannot route to so many experts.
  virtual void check(size_t /*n_expert*/) const {}
  // The tokens of one run, or the one that is to be computed as alone.
  //
  //   gate    how the model itself would choose
  //   logits  [n_tokens, n_expert] of its router; overwritten
  //   out     is refilled
  virtual void route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory,
                     Routing& out) const = 0;
  // As expert_policy_from() makes one like it; "": it was made otherwise.
  std::string text;
};

}  // namespace hunch
