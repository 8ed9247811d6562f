// How a text is computed, as calls say it and as the engine takes it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/context.h"
#include "hunch/model.h"

namespace hunch {

// What is not said is the model's own (LoadOptions).
struct ComputeChoice {
  std::optional<PlanChoice> plan = {};
  std::optional<std::string> kv_policy = {};
  std::optional<std::string> experts = {};
  std::optional<std::vector<LoraAdapter>> adapters = {};
};

// Of the options of any call.
template <class Options>
ComputeChoice choice_of(const Options& options) {
  return {
      .plan = options.plan, .kv_policy = options.kv_policy, .experts = options.experts, .adapters = options.adapters};
}

// What an engine's plan is made of: "" is none of these policies.
struct PlanKey {
  PlanChoice plan = {};
  std::string kv_policy = {}, experts = {};
  bool operator==(const PlanKey&) const = default;
};

// Whether the context computes as `wanted` says: its plan and its adapter are these.
bool computes_as(const ContextOptions& wanted, Context& context);

// The type of the cache with this name. Throws Error{kUsage} naming those that there are.
KvType cache_type(const std::string& name);

// The plans, policies and adapters that a model was asked for, each made once: a text knows those that it was
// computed with by their addresses.
class Choices {
 public:
  // The engine outlives it.
  explicit Choices(Engine& engine) : engine_(engine) {}

  // Throws as Engine::plan_named(), open_sidecar(), check_sidecar(), key_policy_from(), expert_policy_from() and
  // Plan::set_experts().
  std::shared_ptr<const Plan> plan(const PlanKey& key);
  // nullptr for none. Throws as Engine::load_adapter().
  std::shared_ptr<const Adapter> adapter(const std::vector<LoraAdapter>& adapters);
  // The engine has another sidecar.
  void forget_plans() { plans_.clear(); }

 private:
  std::shared_ptr<const Plan> make_plan(const PlanChoice& choice);
  const std::shared_ptr<const KeySelector>& keys(const std::string& kv_policy);
  const std::shared_ptr<const ExpertSelector>& router(const std::string& experts);

  Engine& engine_;
  std::vector<std::pair<PlanKey, std::shared_ptr<const Plan>>> plans_;
  std::vector<std::pair<std::string, std::shared_ptr<const KeySelector>>> keys_;
  std::vector<std::pair<std::string, std::shared_ptr<const ExpertSelector>>> routers_;
  std::vector<std::pair<std::vector<LoraAdapter>, std::shared_ptr<const Adapter>>> adapters_;
};

}  // namespace hunch
