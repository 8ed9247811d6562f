#include "serve/plans.h"

#include <algorithm>

#include "base/error.h"
#include "engine/context.h"
#include "select/key_policies.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

constexpr size_t kMostPlans = 32;  // a client may name a hundred densities

}  // namespace

Plans::Plans(const Engine& engine, Choice usual) : engine_(engine), usual_(std::move(usual)) {
  made_.push_back({usual_, make(usual_)});
}

std::shared_ptr<const Plan> Plans::make(const Choice& choice) const {
  std::shared_ptr<const Plan> plan = engine_.plan_named(choice.mode, choice.density);
  const bool limits_prompts = !choice.prefill.empty() && choice.prefill != "dense";
  if (choice.kv_policy.empty() && !limits_prompts) return plan;
  auto own = std::make_shared<Plan>(*plan);
  if (!choice.kv_policy.empty()) own->set_keys(engine_.config(), key_policy_from(choice.kv_policy));
  if (limits_prompts) own->set_prompts(engine_.config(), prompt_patterns(engine_, choice.prefill));
  return own;
}

std::shared_ptr<const Plan> Plans::plan(const Choice& choice) {
  if (choice.mode == "sparse" && !engine_.sidecar)
    refuse("mode", "this model has no sidecar, which sparse mode needs: `hunch sparsify` makes one");
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(made_, choice, &Made::choice);
  if (found != made_.end()) {
    made_.splice(made_.end(), made_, found);
    return found->plan;
  }
  std::shared_ptr<const Plan> plan;
  try {
    plan = make(choice);
  } catch (const Error& e) {
    if (choice.kv_policy.empty()) throw;
    refuse("kv_policy", "'kv_policy': {}", e.what());
  }
  if (made_.size() >= kMostPlans) made_.pop_front();
  made_.push_back({choice, std::move(plan)});
  return made_.back().plan;
}

}  // namespace hunch::serve
