// Between a mixture's router and whoever says what becomes of its opinions.
#include <algorithm>
#include <tuple>

#include "model/step.h"

namespace hunch {
namespace {

// Whatever the phase: see ExpertSelector.
const ExpertSelector* expert_selector(const Run& run, size_t layer) {
  return run.plan ? static_cast<const ExpertSelector*>(run.plan->at(layer, Point::kExperts).selector.get()) : nullptr;
}

}  // namespace

std::span<const Route> Step::route(size_t layer, const ExpertGateConfig& gate, MatView<float> logits) {
  Routing& all = memory.routing;
  if (std::ranges::none_of(runs(), [&](const Run& run) { return expert_selector(run, layer); })) {
    route_as_trained(gate, logits, memory.routers, all);
    return all.routes;
  }
  all.routes.clear();
  for (size_t t = 0; t < n_tokens();) {
    const Run& its = run(t);
    const size_t n = its.as_alone ? 1 : its.n_tokens;
    const MatView<float> own = logits.row_range(t, n);
    if (const ExpertSelector* selector = expert_selector(its, layer)) {
      selector->route(gate, own, memory.routers, memory.own_routing);
    } else {
      route_as_trained(gate, own, memory.routers, memory.own_routing);
    }
    for (Route route : memory.own_routing.routes) {
      route.token += uint32_t(t);
      all.routes.push_back(route);
    }
    t += n;
  }
  std::ranges::sort(all.routes, {}, [](const Route& r) { return std::tie(r.expert, r.token); });
  return all.routes;
}

}  // namespace hunch
