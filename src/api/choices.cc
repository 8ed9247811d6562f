#include "api/choices.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "formats/format.h"
#include "select/expert_policies.h"
#include "select/key_policies.h"

namespace hunch {
namespace {

// The value of this key, which `make` makes where it is missing.
template <class Key, class Value, class Make>
const Value& value_of(std::vector<std::pair<Key, Value>>& made, const Key& key, const Make& make) {
  for (const auto& [known, value] : made)
    if (known == key) return value;
  Value value = make();  // may throw
  return made.emplace_back(key, std::move(value)).second;
}

}  // namespace

bool computes_as(const ContextOptions& wanted, Context& context) {
  return wanted.plan.get() == &context.plan() && wanted.adapter == context.sequence().adapter();
}

KvType cache_type(const std::string& name) {
  const auto type = kv_type_from_name(name);
  if (!type)
    fail(ErrorKind::kUsage, "keys and values are to be kept as '{}', expected one of {}", name,
         fmt::join(kv_type_names(), ", "));
  return *type;
}

std::shared_ptr<const Plan> Choices::make_plan(const PlanChoice& choice) {
  if (choice.sidecar.empty()) return engine_.plan_named(choice.name, choice.density);
  if (choice.name != "sparse")
    fail(ErrorKind::kUsage, "a sidecar goes with the plan \"sparse\", found it with \"{}\"", choice.name);
  const Sidecar sidecar = open_sidecar(choice.sidecar);
  check_sidecar(sidecar, engine_.model->file(), engine_.config());
  return std::make_shared<const Plan>(sidecar.plan(engine_.config(), choice.density));
}

const std::shared_ptr<const KeySelector>& Choices::keys(const std::string& kv_policy) {
  return value_of(keys_, kv_policy, [&] { return key_policy_from(kv_policy); });
}

const std::shared_ptr<const ExpertSelector>& Choices::router(const std::string& experts) {
  return value_of(routers_, experts, [&] { return expert_policy_from(experts); });
}

std::shared_ptr<const Plan> Choices::plan(const PlanKey& key) {
  return value_of(plans_, key, [&]() -> std::shared_ptr<const Plan> {
    if (key.kv_policy.empty() && key.experts.empty()) return make_plan(key.plan);
    auto own = std::make_shared<Plan>(*plan({key.plan}));
    if (!key.kv_policy.empty()) own->set_keys(engine_.config(), keys(key.kv_policy));
    if (!key.experts.empty()) own->set_experts(engine_.config(), router(key.experts));
    return own;
  });
}

std::shared_ptr<const Adapter> Choices::adapter(const std::vector<LoraAdapter>& adapters) {
  if (adapters.empty()) return nullptr;
  return value_of(adapters_, adapters, [&] {
    std::vector<AdapterSource> sources;
    for (const LoraAdapter& a : adapters) sources.push_back({.path = a.path, .scale = a.scale});
    return engine_.load_adapter(sources);
  });
}

}  // namespace hunch
