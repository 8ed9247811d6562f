#include "model/plan.h"

#include <algorithm>

#include "base/error.h"
#include "select/both.h"
#include "select/selectors.h"

namespace hunch {

Plan Plan::exact(const ModelConfig& config) {
  Plan plan;
  plan.name = "exact";
  const auto zeros = std::make_shared<const ReluZeros>();
  for (const LayerConfig& l : config.layers)
    if (l.has_mlp() && l.makes_zeros()) plan.put(l.index, Point::kLive, {zeros});
  return plan;
}

void Plan::set_keys(const ModelConfig& config, std::shared_ptr<const KeySelector> keys) {
  if (std::ranges::none_of(config.layers, &LayerConfig::has_attention))
    fail(ErrorKind::kUsage,
         "no layer of this model has keys: the key policy (kv_policy) '{}' has nothing to choose from", keys->kind());
  if (std::ranges::any_of(config.layers, [](const LayerConfig& l) { return l.extend.on(); }))
    fail(ErrorKind::kUnsupported,
         "the key policy (kv_policy) '{}' and Self-Extend (rope) do not go together: it would judge far keys by where "
         "near ones stand",
         keys->kind());
  if (std::ranges::any_of(config.layers, [](const LayerConfig& l) { return l.relative.on; }))
    fail(ErrorKind::kUnsupported,
         "this model's scores depend on how far a key is behind, and it sees so much of the past as it was made for: "
         "the key policy (kv_policy) '{}' does not apply",
         keys->kind());
  for (size_t l = 0; l < config.n_layer; ++l) {
    // Borrowed ones are dropped where they lie.
    if (!config.layers[l].has_attention() || (config.layers[l].borrows_keys() && keys->drops())) continue;
    put(l, Point::kKeys, {keys});
    if (!keys->chooses_heads() || !can_choose_heads(config.layers[l])) continue;
    const PlanEntry others = at(l, Point::kHeads);
    put(l, Point::kHeads,
        others.selector ? PlanEntry{std::make_shared<const Both>(others.selector, keys), others.look}
                        : PlanEntry{keys});
  }
  this->keys = std::move(keys);
}

void Plan::set_prompts(const ModelConfig& config, std::shared_ptr<const PromptPatterns> prompts) {
  if (!config.causal || std::ranges::none_of(config.layers, &LayerConfig::has_attention))
    fail(ErrorKind::kUsage,
         "no layer of this model attends to what stands before only: patterns of prompts (prefill) "
         "have nothing to leave out");
  if (const auto& heads = prompts->heads(); !heads.empty()) {
    if (heads.size() != config.n_layer)
      fail(ErrorKind::kUsage, "the patterns of prompts (prefill) are of {} layers, the model has {}", heads.size(),
           config.n_layer);
    for (size_t l = 0; l < config.n_layer; ++l)
      if (const size_t n = config.layers[l].n_kv_head; !heads[l].empty() && heads[l].size() != n)
        fail(ErrorKind::kUsage, "layer {}: patterns of prompts (prefill) of {} heads, the model has {}", l,
             heads[l].size(), n);
  }
  this->prompts = std::move(prompts);
}

void Plan::set_experts(const ModelConfig& config, std::shared_ptr<const ExpertSelector> experts) {
  if (config.moe.n_expert == 0)
    fail(ErrorKind::kUsage, "the model is no mixture of experts: there is nothing for '{}' to route", experts->kind());
  experts->check(config.moe.n_expert);
  for (const LayerConfig& l : config.layers)
    if (l.has_experts()) put(l.index, Point::kExperts, {experts});
}

void Plan::set_screen(std::shared_ptr<const VocabScreen> screen) {
  if (screen) put(0, Point::kVocabulary, {std::move(screen)});
}

void Plan::set(size_t layer, Point point, PlanEntry entry, InputPart part) {
  source.reset();
  put(layer, point, std::move(entry), part);
}

void Plan::put(size_t layer, Point point, PlanEntry entry, InputPart part) {
  if (layers_.size() <= layer) layers_.resize(layer + 1);
  layers_[layer][slot(point, part)] = std::move(entry);
}

const PlanEntry& Plan::at(size_t layer, Point point, InputPart part) const {
  static const PlanEntry kNobody;
  return layer < layers_.size() ? layers_[layer][slot(point, part)] : kNobody;
}

bool Plan::uses(Point point) const {
  return std::ranges::any_of(layers_, [&](const auto& entries) {
    if (point != Point::kInputs) return bool(entries[slot(point, InputPart::kAttention)].selector);
    return std::any_of(entries.begin(), entries.begin() + kNInputParts, [](auto& e) { return bool(e.selector); });
  });
}

}  // namespace hunch
