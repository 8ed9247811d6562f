// Which experts a token goes to.
#pragma once
#include <span>

#include "base/compute.h"
#include "base/view.h"
#include "model/config.h"

namespace hunch {

struct Route {
  uint32_t expert, token;
  float weight;  // of the expert's output in the token's sum
};

// The n_expert_used most probable experts of every token, among equals the lower ones. Sorted by expert, then by token;
// valid until the end of the caller's Arena::Scope.
//
//   scores [n_tokens, n_expert]  logits of the router; become probabilities
std::span<const Route> route_top_k(Compute& compute, const MoeConfig& moe, MatView<float> scores);

// 1 / (1 + exp(-x)) of the one value x.
float sigmoid(std::span<const float> x);

}  // namespace hunch
