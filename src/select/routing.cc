#include "select/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// NaN has no place in an order; it comes last here.
float sort_key(float x) { return std::isnan(x) ? -std::numeric_limits<float>::infinity() : x; }

void start(size_t n_tokens, size_t n_expert, Routing& out) {
  out.routes.clear();
  out.load.assign(n_expert, 0);
  out.refused.assign(n_expert, 0);
  out.n_experts_of.assign(n_tokens, 0);
}

void add_route(uint32_t token, uint32_t expert, float weight, Routing& out) {
  out.routes.push_back({token, expert, weight});
  ++out.load[expert];
  ++out.n_experts_of[token];
}

void finish(Routing& out) {
  std::ranges::sort(out.routes, {}, [](const Route& r) { return std::tie(r.expert, r.token); });
  out.n_dropped = size_t(std::ranges::count(out.n_experts_of, 0u));
}

}  // namespace

void route_all(const ExpertChoices& choices, Routing& out) {
  route_within_capacity(choices, choices.n_tokens, QueueOrder::kByToken, out);
}

void route_within_capacity(const ExpertChoices& choices, size_t capacity, QueueOrder order, Routing& out) {
  const size_t k = choices.k;
  start(choices.n_tokens, choices.n_expert, out);
  std::vector<uint32_t>& queue = out.scratch;
  queue.resize(choices.n_tokens);
  std::iota(queue.begin(), queue.end(), 0u);
  if (order == QueueOrder::kByWeight)
    std::ranges::sort(queue, {}, [&](uint32_t t) { return std::pair(-sort_key(choices.weight[t * k]), t); });
  for (size_t i = 0; i < k; ++i)
    for (uint32_t t : queue) {
      const uint32_t expert = choices.expert[t * k + i];
      if (out.load[expert] < capacity) {
        add_route(t, expert, choices.weight[t * k + i], out);
      } else {
        ++out.refused[expert];
      }
    }
  finish(out);
}

size_t expert_capacity(size_t n_tokens, size_t n_expert, size_t k, double factor, bool round_up) {
  HUNCH_CHECK(n_expert >= 1 && factor >= 0, "{} experts, capacity factor {}", n_expert, factor);
  const double exact = double(n_tokens) * double(k) / double(n_expert) * factor;
  return size_t(round_up ? std::ceil(exact) : std::floor(exact));
}

void route_expert_choice(MatView<float> logits, size_t capacity, Routing& out) {
  const size_t n_tokens = logits.rows, n_taken = std::min(capacity, n_tokens);
  start(n_tokens, logits.cols, out);
  for (size_t t = 0; t < n_tokens; ++t) softmax(logits.row(t));
  std::vector<uint32_t>& tokens = out.scratch;
  for (uint32_t e = 0; e < logits.cols; ++e) {
    tokens.resize(n_tokens);
    std::iota(tokens.begin(), tokens.end(), 0u);
    std::ranges::nth_element(tokens, tokens.begin() + ptrdiff_t(n_taken), {},
                             [&](uint32_t t) { return std::pair(-sort_key(logits.row(t)[e]), t); });
    for (uint32_t t : std::span(tokens).first(n_taken)) add_route(t, e, logits.row(t)[e], out);
  }
  finish(out);
}

}  // namespace hunch
