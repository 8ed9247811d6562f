// How the tokens of a step are given to experts, with or without a limit on what an expert takes.
#pragma once
#include <cstdint>
#include <vector>

#include "base/view.h"
#include "select/expert_gate.h"

namespace hunch {

struct Route {
  uint32_t token, expert;
  float weight;  // what the expert's output is multiplied by before it is added to the token's

  bool operator==(const Route&) const = default;
};

// Who computes what. Refilled by every router; allocates only when it grows.
struct Routing {
  std::vector<Route> routes;           // by expert, then token; no pair twice
  std::vector<uint32_t> load;          // [n_expert] routes to the expert
  std::vector<uint32_t> refused;       // [n_expert] choices of the expert that found it full
  std::vector<uint32_t> n_experts_of;  // [n_tokens] routes of the token; 0: it passes by on the residual alone
  size_t n_dropped = 0;                // tokens without a route
  std::vector<uint32_t> scratch;       // of the routers; means nothing to others
};

// Every choice becomes a route; a gate alone, without capacities.
void route_all(const ExpertChoices& choices, Routing& out);

// Who comes first to an expert that cannot take all. In both orders all first choices come before all second choices.
enum class QueueOrder {
  kByToken,   // in the order of the tokens: Switch Transformers, GShard
  kByWeight,  // tokens by the falling weight of their first choice: batch-prioritised routing (Riquelme et al. 2021,
              // "Scaling Vision with Sparse Mixture of Experts", arXiv:2106.05974, section 4.1); among equals in order
};

// Every choice becomes a route unless its expert already has `capacity` of them. Weights stay as they are.
// Source: Fedus et al. 2022 (arXiv:2101.03961), section 2.2, for one choice per token; Lepikhin et al. 2020, "GShard"
// (arXiv:2006.16668), algorithm 1, for more.
void route_within_capacity(const ExpertChoices& choices, size_t capacity, QueueOrder order, Routing& out);

// n_tokens * k / n_expert * factor, rounded down (Switch: int()) or up (Megatron and others).
size_t expert_capacity(size_t n_tokens, size_t n_expert, size_t k, double factor, bool round_up);

// Each expert takes the `capacity` tokens (all, if there are fewer) with the largest softmax probability for it, among
// equals the earlier ones; the probability is the weight. No expert is overloaded; a token may get any number of
// experts. It looks at the later tokens of the batch too, so that a token's routes depend on its company.
//
//   logits  [n_tokens, n_expert]  overwritten by their softmax
//
// Source: Zhou et al. 2022, "Mixture-of-Experts with Expert Choice Routing" (arXiv:2202.09368), section 3.2; there
// capacity = n_tokens * c / n_expert, which is expert_capacity() with k = c and factor 1.
void route_expert_choice(MatView<float> logits, size_t capacity, Routing& out);

}  // namespace hunch
