#include "model/plan_order.h"

#include "base/error.h"
#include "model/model.h"
#include "model/ranks.h"

namespace hunch {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  fail(ErrorKind::kUnsupported, "several ranks do not compute {}; run it without mpirun", what);
}

void check_keys(const KeySelector& keys, const Model& model) {
  const auto name = [&] { return fmt::format("the key policy (kv_policy) '{}'", keys.kind()); };
  if (keys.text.empty()) refuse(name() + ", which was made by hand");
  if (keys.rereads(SIZE_MAX) > 0) refuse(name() + ", which has the text computed once more");
  if (model.ranks()->by_layers()) {
    if (!keys.layers_apart()) refuse(name() + " by layers: what it drops in one, the next ones drop too");
    return;
  }
  const ModelParts& parts = model.weights().parts;
  for (size_t layer = 0; layer < model.config().n_layer; ++layer) {
    if (!parts.cut(layer).mixer) continue;
    if (!keys.heads_apart()) refuse(name() + " by tensors: it compares or numbers the heads of a layer");
    if (parts.shares_keys(layer))
      refuse(fmt::format("{} by tensors where ranks outnumber key heads ({} of layer {}): each would drop others",
                         name(), model.whole_config().layers[layer].n_kv_head, layer));
  }
}

}  // namespace

PlanOrder PlanOrder::of(const Plan& plan, const Model& model) {
  if (!plan.source) refuse(fmt::format("a plan that was made by hand ({})", plan.name));
  PlanOrder order{.name = plan.name, .source = *plan.source, .has_memory = bool(plan.memory)};
  for (size_t layer = 0; plan.prompts && plan.prompts->chooses() && layer < model.config().n_layer; ++layer)
    if (model.weights().parts.shares_keys(layer))
      refuse("patterns of prompts (prefill) that look at queries, by tensors where ranks outnumber key heads");
  if (plan.prompts && plan.prompts->thins()) refuse("prompts that compute a part of the neurons (prefill)");
  if (plan.prompts) order.prompts = plan.prompts->heads().empty() ? name_of(plan.prompts->at(0, 0)) : "sidecar";
  if (plan.keys) {
    check_keys(*plan.keys, model);
    order.keys = plan.keys->text;
  }
  for (size_t layer = 0; layer < plan.n_layer() && order.experts.empty(); ++layer)
    if (const auto& selector = plan.at(layer, Point::kExperts).selector) {
      order.experts = static_cast<const ExpertSelector&>(*selector).text;
      if (order.experts.empty()) refuse("a router (experts) that was made by hand");
    }
  return order;
}

void PlanOrder::put(Message& message) const {
  for (const std::string& text : {name, source.sidecar.string(), prompts, keys, experts}) message.put_text(text);
  message.put(source.density);
  message.put(n_keys);
  message.put(has_memory);
}

PlanOrder PlanOrder::take(Message& message) {
  PlanOrder order;
  order.name = message.get_text();
  order.source.sidecar = message.get_text();
  order.prompts = message.get_text();
  order.keys = message.get_text();
  order.experts = message.get_text();
  order.source.density = message.get<double>();
  order.n_keys = message.get<uint32_t>();
  order.has_memory = message.get<bool>();
  return order;
}

}  // namespace hunch
