// The MLP, whatever the plan, the batch and the form of its matrices.
#include "linear/project.h"
#include "model/layer.h"
#include "select/prompt_neurons.h"

namespace hunch {

void Mlp::operator()(Step& s, const LayerConfig& c, const TokenGroup& g, MatView<const float> x,
                     MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const StageScope stage(s.compute, Stage::kGateUp);
  const RowSet inputs = s.rows(c.index, Point::kInputs, g, x, InputPart::kMlp);  // TEAL, or all
  RowSet neurons = s.rows(c.index, Point::kNeurons, g, x, {}, {}, n_ff);         // a predictor, the prompt, or all
  const bool thins = s.thins_prompt(c.index, g);
  if (thins) neurons = of_prompts(s, c, g, x, neurons);
  const bool gate_tells = gate && (thins || s.asks(c.index, Point::kLive, g) || s.asks(c.index, Point::kNeurons, g));
  const MatView<float> act = s.take(x.rows, n_ff), ups = gate ? s.take(x.rows, n_ff) : MatView<float>();

  RowSet live = neurons;
  if (gate && !gate_tells) {
    const Product both[] = {{gate.get(), act}, {up.get(), ups}};
    project(s.compute, g.traits, x, inputs, both);
    const StageScope activation(s.compute, Stage::kActivation);
    activate_and_multiply_rows(s.compute, c, ups, act);
  } else {
    project(s.compute, g.traits, x, inputs, gate ? *gate : *up, neurons, act);
    {
      const StageScope activation(s.compute, Stage::kActivation);
      activate_rows(s.compute, c, act);  // maps 0 to 0: what is left out stays zero
    }
    live = s.rows(c.index, Point::kLive, g, act, {}, neurons);  // exact zeros, CATS, or `neurons`
    if (gate) {
      project(s.compute, g.traits, x, inputs, *up, live, ups);
      const StageScope activation(s.compute, Stage::kActivation);
      multiply_rows(s.compute, c, ups, act);
      const bool up_has_zeros = c.details.relu_up || c.round_inputs;  // of its own: a ReLU's, or sums of integers
      if (up_has_zeros && is_relu_family(c.activation)) live = s.nonzero(act);
    }
  }
  if (!sub_norm.empty()) norm_rows(s.compute, c, act, sub_norm, act);  // maps 0 to 0: it has no bias
  if (s.observer) s.observer->on_mlp({c.index, g.expert, g.tokens}, x, act);
  s.watch(c.index, g, act);
  if (g.tokens.empty() && !neurons.is_all()) s.read_neurons(c.index + 1, x);
  const RowSet read = s.rows(c.index, Point::kInputs, g, act, InputPart::kNeurons, live);
  count(s, c, g, {inputs, neurons, live, read}, act);
  const StageScope last(s.compute, Stage::kDown);
  down->add(s.compute, g.traits, act, read, y);
}

RowSet Mlp::of_prompts(Step& s, const LayerConfig& c, const TokenGroup& g, MatView<const float> x,
                       RowSet neurons) const {
  std::vector<Rows>& own = s.memory.prompt_neurons;
  if (own.size() < g.size()) own.resize(g.size());
  for (size_t t = 0; t < g.size(); ++t)
    if (neurons.own.empty()) {
      own[t].refill_all(n_ff);
    } else {
      own[t] = neurons.own[t];
    }
  s.for_each_prompt_block(c.index, [&](size_t first, size_t n, double share) {
    const Arena::Scope scope(s.compute.arena);
    const MatView<const float> some = PromptNeurons::telling(x.row_range(first, n));
    const Tokens tokens = g.traits.subspan(first, some.rows);  // all of a run's are alike
    const MatView<float> act = s.take(some.rows, n_ff), ups = gate ? s.take(some.rows, n_ff) : MatView<float>();
    project(s.compute, tokens, some, {}, gate ? *gate : *up, {}, act);
    activate_rows(s.compute, c, act);
    if (gate) {
      project(s.compute, tokens, some, {}, *up, {}, ups);
      multiply_rows(s.compute, c, ups, act);
    }
    PromptNeurons::choose(s.compute, act, share, s.memory.prompt_statistic, own[first]);
    own[first].set_name(UINT64_MAX - first);  // no copy's name: that its tokens are computed together
    for (size_t t = first + 1; t < first + n; ++t) own[t] = own[first];
  });
  return {std::span(own).first(g.size())};
}

// What was computed, in neurons; where inputs are left out instead, in weights, and of an expert in neurons of as many
// weights: what a mixture has is counted there.
void Mlp::count(Step& s, const LayerConfig& c, const TokenGroup& g, const Choices& chosen,
                MatView<const float> act) const {
  if (g.expert == LinearId::kShared) return;  // what all tokens share is no choice
  const bool is_dense = g.expert == LinearId::kNone;
  const uint64_t n = g.size(), n_first = n_ff * (gate ? 2 : 1), n_weights = up->n_in * n_first + down->n_out * n_ff;
  const uint64_t unit = is_dense ? 1 : n_weights / n_ff;
  const auto asks_inputs = [&](const TokenGroup& of) {
    return s.asks(c.index, Point::kInputs, of, InputPart::kMlp) ||
           s.asks(c.index, Point::kInputs, of, InputPart::kNeurons);
  };
  const bool by_inputs = asks_inputs(g);
  const auto own = [&](const RowSet& rows, size_t i, size_t n_rows) {
    return (rows.own.empty() ? rows : rows.subset(i, 1)).count(1, n_rows);
  };
  // Of each token by itself, so that who shares its step changes nothing.
  const auto read_of = [&](size_t i) {
    return (own(chosen.inputs, i, c.n_embd) * n_first + own(chosen.read, i, n_ff) * c.n_embd) / unit;
  };
  s.for_each_traced(g, c.index, [&](size_t i, LayerUse& use) {
    const uint32_t place = g.tokens.empty() ? uint32_t(i) : g.tokens[i];
    const TokenGroup alone{g.traits.subspan(i, 1), {&place, 1}, g.expert};  // what others ask for is not its own
    if (by_inputs && asks_inputs(alone)) {
      use.neurons.used += read_of(i);
      use.neurons.of += is_dense ? n_weights : 0;
      return;
    }
    const uint64_t n_chosen = own(chosen.neurons, i, n_ff);
    const bool asks = s.asks(c.index, Point::kLive, alone) || s.asks(c.index, Point::kNeurons, alone);
    use.neurons.used += !asks || n_chosen < n_ff ? n_chosen : own(chosen.live, i, n_ff);
    use.neurons.of += is_dense ? n_ff : 0;
  });
  if (by_inputs) {
    uint64_t n_read = 0;
    for (size_t i = 0; i < n; ++i) n_read += read_of(i);
    return s.count_neurons(c.index, n_read, is_dense ? n * n_weights : 0);
  }
  const bool known = !chosen.neurons.is_all() || !chosen.live.is_all() || !c.makes_zeros();
  const RowSet& counted = chosen.neurons.is_all() ? chosen.live : chosen.neurons;
  s.count_neurons(c.index, known ? counted.count(n, n_ff) : count_nonzero(act), is_dense ? n * n_ff : 0);
}

}  // namespace hunch
