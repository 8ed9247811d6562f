#include "serve/plans.h"

#include <algorithm>

#include "serve/request_error.h"

namespace hunch::serve {
namespace {

constexpr size_t kMostPlans = 32;  // a client may name a hundred densities

}  // namespace

Plans::Plans(const Engine& engine, std::string mode, double density)
    : engine_(engine), mode_(std::move(mode)), density_(density) {
  made_.push_back({mode_, density_, engine_.plan_named(mode_, density_)});
}

std::shared_ptr<const Plan> Plans::plan(const std::string& mode, double density) {
  if (mode == "sparse" && !engine_.sidecar)
    refuse("mode", "this model has no sidecar, which sparse mode needs: `hunch sparsify` makes one");
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(made_, [&](const Made& m) { return m.mode == mode && m.density == density; });
  if (found != made_.end()) {
    made_.splice(made_.end(), made_, found);
    return found->plan;
  }
  if (made_.size() >= kMostPlans) made_.pop_front();
  made_.push_back({mode, density, engine_.plan_named(mode, density)});
  return made_.back().plan;
}

}  // namespace hunch::serve
