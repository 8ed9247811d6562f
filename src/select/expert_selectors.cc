#include "select/expert_selectors.h"

#include <algorithm>

#include "base/error.h"
#include "base/sigmoid.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

bool is_enough_to_balance(const ExpertGateConfig& gate, MatView<const float> logits) {
  return logits.rows * gate.k >= logits.cols;
}

// Logits become the gate's scores, and the routes get their weights of these.
void weigh(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory, Routing& out) {
  for (size_t t = 0; t < logits.rows; ++t) {
    if (gate.score == RouterScore::kSigmoid) {
      for (float& x : logits.row(t)) x = sigmoid(x);
    } else {  // a sparse mixer's weights belong to its own choice
      softmax(logits.row(t));
    }
  }
  std::vector<float>& total = memory.totals;
  total.assign(logits.rows, 0.0f);
  for (Route& r : out.routes) total[r.token] += r.weight = logits.row(r.token)[r.expert];
  for (Route& r : out.routes) r.weight = (gate.renormalise ? r.weight / total[r.token] : r.weight) * gate.scale;
}

}  // namespace

void route_as_trained(const ExpertGateConfig& gate, MatView<const float> logits, RoutingMemory& memory, Routing& out) {
  memory.gate.choose(gate, logits, memory.choices);
  route_all(memory.choices, out);
}

void TopExperts::check(size_t n_expert) const {
  if (k_ > n_expert)
    fail(ErrorKind::kUsage, "a router (experts) of top {}: the model has {}, expected at most so many", k_, n_expert);
}

void TopExperts::route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory, Routing& out) const {
  ExpertGateConfig own = gate;
  own.k = k_;
  route_as_trained(own, logits, memory, out);
}

void ExpertCapacity::route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory,
                           Routing& out) const {
  memory.gate.choose(gate, logits, memory.choices);
  const size_t capacity = expert_capacity(logits.rows, logits.cols, gate.k, factor_, true);
  route_within_capacity(memory.choices, std::max<size_t>(1, capacity), order_, out);
}

void ExpertsChoose::route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory,
                          Routing& out) const {
  const size_t capacity = expert_capacity(logits.rows, logits.cols, gate.k, factor_, false);
  if (!is_enough_to_balance(gate, logits) || capacity == 0) return route_as_trained(gate, logits, memory, out);
  memory.scores.resize(logits.rows * logits.cols);
  const MatView<float> probabilities(memory.scores.data(), logits.rows, logits.cols);
  for (size_t t = 0; t < logits.rows; ++t) std::ranges::copy(logits.row(t), probabilities.row(t).begin());
  route_expert_choice(probabilities, capacity, out);
  weigh(gate, logits, memory, out);
}

void BalancedExperts::route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory,
                            Routing& out) const {
  if (!is_enough_to_balance(gate, logits)) return route_as_trained(gate, logits, memory, out);
  memory.scores.resize(logits.rows * logits.cols);
  const MatView<float> scores(memory.scores.data(), logits.rows, logits.cols);
  float least = logits.row(0)[0], most = least;
  for (size_t t = 0; t < logits.rows; ++t) {
    std::ranges::copy(logits.row(t), scores.row(t).begin());
    for (float x : logits.row(t)) least = std::min(least, x), most = std::max(most, x);
  }
  const float taken = least - 2 * (most - least) - 1;  // worse than any other, and near enough for the auction's bids
  memory.choices.resize(logits.rows, logits.cols, gate.k);
  std::vector<uint32_t> expert;
  for (size_t i = 0; i < gate.k; ++i) {
    assign_balanced(scores, balance_, expert);
    for (size_t t = 0; t < logits.rows; ++t) {
      uint32_t e = expert[t];
      // Where only an expert was left that the token has already: the best of the others.
      if (scores.row(t)[e] == taken) e = uint32_t(std::ranges::max_element(scores.row(t)) - scores.row(t).begin());
      memory.choices.expert[t * gate.k + i] = e;
      scores.row(t)[e] = taken;
    }
  }
  route_all(memory.choices, out);
  weigh(gate, logits, memory, out);
}

void SinkhornExperts::route(const ExpertGateConfig& gate, MatView<float> logits, RoutingMemory& memory,
                            Routing& out) const {
  if (!is_enough_to_balance(gate, logits)) return route_as_trained(gate, logits, memory, out);
  memory.scores.resize(logits.rows * logits.cols);
  const MatView<float> balanced(memory.scores.data(), logits.rows, logits.cols);
  sinkhorn(logits, balanced);
  memory.choices.resize(logits.rows, logits.cols, gate.k);
  for (size_t t = 0; t < logits.rows; ++t)
    best_of(balanced.row(t), std::span(memory.choices.expert).subspan(t * gate.k, gate.k));
  route_all(memory.choices, out);
  weigh(gate, logits, memory, out);
}

}  // namespace hunch
