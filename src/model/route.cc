#include "model/route.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/ops.h"

namespace hunch {

std::span<const Route> route_top_k(Compute& compute, const MoeConfig& moe, MatView<float> scores) {
  const std::span<Route> routes = compute.arena.take<Route>(scores.rows * moe.n_expert_used);
  const std::span<uint32_t> order = compute.arena.take<uint32_t>(scores.cols);
  size_t n = 0;
  for (size_t t = 0; t < scores.rows; ++t) {
    const std::span<const float> p = scores.row(t);
    softmax(scores.row(t));
    for (uint32_t e = 0; e < order.size(); ++e) order[e] = e;
    std::ranges::stable_sort(order, std::greater<>(), [&](uint32_t e) { return p[e]; });
    float total = 0;
    for (size_t i = 0; i < moe.n_expert_used; ++i) total += p[order[i]];
    for (size_t i = 0; i < moe.n_expert_used; ++i)
      routes[n++] = {order[i], uint32_t(t), p[order[i]] / (moe.renormalise ? total : 1.0f)};
  }
  std::ranges::stable_sort(routes, {}, &Route::expert);
  return routes;
}

float sigmoid(std::span<const float> x) { return 1.0f / (1.0f + std::exp(-x[0])); }

}  // namespace hunch
