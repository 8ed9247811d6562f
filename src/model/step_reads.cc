// What a step asks of the disk before it needs it, of a model that is larger than memory.
#include <algorithm>

#include "base/precision_scope.h"
#include "linear/weight_disk.h"
#include "model/model.h"
#include "model/step.h"

namespace hunch {
namespace {

// The experts of some routes, which come by expert: each once.
void list_experts(std::span<const Route> routes, std::vector<uint32_t>& experts) {
  experts.clear();
  for (const Route& route : routes)
    if (experts.empty() || experts.back() != route.expert) experts.push_back(route.expert);
}

}  // namespace

void Step::read_ahead(size_t layer) const {
  const Answer& answer = answer_of(layer, Point::kNeurons, InputPart::kAttention);
  if (answer.layer != layer || n_tokens() != 1 || answer.own[0].is_all()) return;
  model.weights().disk->expect_neurons(uint32_t(layer), answer.own[0].ids());
}

// As of routers below: the next predictor finds in this layer's input most of what it will find in its own.
void Step::read_neurons(size_t layer, MatView<const float> x) {
  WeightDisk* const disk = model.weights().disk.get();
  if (!disk || n_tokens() != 1 || layer >= model.config().n_layer) return;
  const LayerConfig& c = model.weights().layers[layer].config;
  const PlanEntry* entry = entry_of(run(0), layer, Point::kNeurons, InputPart::kAttention);
  if (!entry || entry->look != Look::kHere || c.has_experts() || c.n_embd != x.cols) return;
  if (run(0).states && run(0).states->of(*entry->selector)) return;  // it remembers what it was asked
  const StageScope stage(compute, Stage::kSelection);
  entry->selector->choose(
      compute, {.x = x, .n_rows = c.n_ff, .layer = layer, .first_position = position(0), .states = run(0).states},
      {&memory.guess, 1});
  if (!memory.guess.is_all()) disk->expect_neurons(uint32_t(layer), memory.guess.ids());
}

// What the stream says to a router changes little from one layer to the next (Eliseev and Mazur 2023, "Fast inference
// of mixture-of-experts language models with offloading", arXiv:2312.17238, section 3.2).
void Step::read_experts(size_t layer, std::span<const Route> routes, MatView<const float> router_x) {
  WeightDisk* const disk = model.weights().disk.get();
  if (!disk) return;
  list_experts(routes, memory.experts);
  disk->expect_experts(uint32_t(layer), memory.experts, false);
  constexpr size_t kFewTokens = 2;  // of more, nearly all experts are wanted
  if (n_tokens() > kFewTokens) return;
  const std::vector<Layer>& layers = model.weights().layers;
  const auto next = std::find_if(layers.begin() + ptrdiff_t(layer) + 1, layers.end(),
                                 [](const Layer& l) { return l.config.has_experts(); });
  if (next == layers.end()) return;
  const Arena::Scope scope(compute.arena);
  const MatView<float> scores = take(router_x.rows, next->experts.experts.size());
  {
    const PrecisionScope exact(compute, Precision::kF32);  // as the layer's own will be
    next->experts.router->dot(compute, memory.traits, router_x, {}, scores);
  }
  route_as_trained(next->config.moe.gate(next->experts.choice_bias), scores, memory.routers, memory.own_routing);
  list_experts(memory.own_routing.routes, memory.experts);
  disk->expect_experts(uint32_t(next->config.index), memory.experts, true);
}

}  // namespace hunch
