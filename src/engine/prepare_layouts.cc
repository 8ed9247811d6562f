// Which copies of weights a plan gathers from.
#include "engine/place_weights.h"
#include "engine/sequence.h"

#include <algorithm>
#include <iterator>

#include "formats/format.h"
#include "linear/on_demand.h"
#include "linear/weight_disk.h"

namespace hunch {
namespace {

// Which weights of a model that is larger than memory the plan asks for, and how.
WeightDisk::Needs disk_needs(const ModelWeights& w, const Plan& plan) {
  WeightDisk::Needs needs;
  for (const Layer& l : w.layers) {
    if (l.config.has_experts()) {
      needs.n_experts = std::max(needs.n_experts, l.config.moe.n_expert_used);
      continue;
    }
    if (!l.mlp.up) continue;
    const bool by_neuron = l.mlp.down->reads_less_by_input(1);
    const bool chooses = bool(plan.at(l.config.index, Point::kNeurons).selector);
    const bool live = bool(plan.at(l.config.index, Point::kLive).selector);
    size_t part = 0;  // of a neuron: gate, up, down
    for (const std::unique_ptr<Linear>* linear : {&l.mlp.gate, &l.mlp.up, &l.mlp.down}) {
      if (!*linear) continue;
      const bool some = (chooses || (live && part > 0)) && (linear != &l.mlp.down || by_neuron);
      if (some) {
        needs.first_part = std::min(needs.first_part, part);
      } else {
        needs.whole_bytes += (*linear)->bytes();
      }
      ++part;
    }
  }
  return needs;
}

}  // namespace

void prepare_layouts(const Engine& engine, const Plan& plan) {
  const size_t n_here = engine.device ? engine.device->first_layer() : engine.config().n_layer;  // of its layers
  if (n_here == 0) return;                                                                       // a device has its own
  const ModelWeights& w = engine.model->weights();
  std::vector<Linear*> by_input, by_group, whole, chosen;  // whole: nobody asks for some of the rows
  for (const Layer& l : std::span(w.layers).first(n_here)) {
    const size_t layer = l.config.index;
    const auto has = [&](Point point, InputPart part = InputPart::kAttention) {
      return bool(plan.at(layer, point, part).selector);
    };
    const bool gathers_neurons = has(Point::kLive) && !l.config.makes_zeros();
    const bool chooses_neurons = has(Point::kNeurons);
    const_cast<Layer&>(l).for_each_linear([&](std::unique_ptr<Linear>& linear) {
      switch (linear->id.role) {
        case Role::kQuery:
        case Role::kKey:
        case Role::kValue:
          if (has(Point::kInputs, InputPart::kAttention)) by_input.push_back(linear.get());
          whole.push_back(linear.get());  // or by heads, which are whole strips
          break;
        case Role::kHeads:
          (has(Point::kHeads) ? by_group : whole).push_back(linear.get());
          if (has(Point::kInputs, InputPart::kHeads)) by_input.push_back(linear.get());
          break;
        case Role::kGate:
        case Role::kUp:
          if (has(Point::kInputs, InputPart::kMlp)) by_input.push_back(linear.get());
          if (!chooses_neurons && (linear->id.role == Role::kGate || !l.config.gated || !has(Point::kLive)))
            whole.push_back(linear.get());
          else
            chosen.push_back(linear.get());
          break;
        case Role::kDown:
          if (gathers_neurons || has(Point::kInputs, InputPart::kNeurons)) by_input.push_back(linear.get());
          (linear->by_input() ? chosen : whole).push_back(linear.get());
          break;
        default: whole.push_back(linear.get());
      }
    });
  }
  if (w.disk) {
    for (Linear* linear : whole)
      if (auto* on_demand = dynamic_cast<OnDemand*>(linear)) on_demand->interleave();
    w.disk->arrange(disk_needs(w, plan));
  }
  Layouts& layouts = engine.model->layouts();
  layouts.store_by_input(*engine.compute, by_input,
                         plan.uses(Point::kInputs) ? "storing every projection by input, for TEAL,"
                                                   : "storing the down projections by neuron");
  for (Linear* heads : by_group)
    layouts.store_by_group(*engine.compute, {&heads, 1}, w.layers[heads->id.layer].config.group_width());
  for (Linear* words : {w.words_in.get(), w.words_out.get(), w.output.get()})
    if (words && !(engine.device && words != w.words_in.get()) && !(words == w.output.get() && plan.screen()))
      whole.push_back(words);
  std::ranges::copy_if(whole, std::back_inserter(chosen), [](const Linear* linear) {  // these are read as rows too
    return is_plain(linear->factor(Axis::kOut).rows().dtype);
  });
  layouts.interleave(*engine.compute, whole, engine.model->file().maps);
  layouts.hold(*engine.compute, chosen, engine.model->file().maps);
  if (engine.placed) engine.placed->place(page_homes(w, plan, engine.places), engine.places);
}

}  // namespace hunch
