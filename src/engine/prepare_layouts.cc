// Which copies of weights a plan gathers from.
#include "engine/sequence.h"

#include <algorithm>
#include <iterator>

#include "formats/format.h"

namespace hunch {

void prepare_layouts(const Engine& engine, const Plan& plan) {
  if (engine.device) return;  // which has its own
  const ModelWeights& w = engine.model->weights();
  std::vector<Linear*> by_input, by_group, whole, chosen;  // whole: nobody asks for some of the rows
  for (const Layer& l : w.layers) {
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
  Layouts& layouts = engine.model->layouts();
  layouts.store_by_input(*engine.compute, by_input,
                         plan.uses(Point::kInputs) ? "storing every projection by input, for TEAL,"
                                                   : "storing the down projections by neuron");
  for (Linear* heads : by_group)
    layouts.store_by_group(*engine.compute, {&heads, 1}, w.layers[heads->id.layer].config.group_width());
  for (Linear* words : {w.words_in.get(), w.words_out.get(), w.output.get()})
    if (words && !(words == w.output.get() && plan.screen())) whole.push_back(words);
  std::ranges::copy_if(whole, std::back_inserter(chosen), [](const Linear* linear) {  // these are read as rows too
    return multiplies_floats(linear->factor(Axis::kOut).rows().dtype);
  });
  layouts.interleave(*engine.compute, whole, engine.model->file().maps);
  layouts.hold(*engine.compute, chosen, engine.model->file().maps);
}

}  // namespace hunch
