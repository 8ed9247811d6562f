// The MLP half of a layer: dense, neuron by neuron (exact and selected), and as a mixture of experts.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/gather.h"
#include "kernels/ops.h"
#include "model/forward.h"
#include "select/relu_zeros.h"
#include "select/threshold.h"

namespace hunch {
namespace {

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

uint64_t count_nonzero(std::span<const float> x) {
  return uint64_t(std::ranges::count_if(x, [](float v) { return v != 0.0f; }));
}

// Zeroes what is not selected.
void keep_selected(const Rows& kept, std::span<float> x) {
  if (kept.is_all()) return;
  size_t next = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (next < kept.size() && kept.ids()[next] == i) {
      ++next;
    } else {
      x[i] = 0;
    }
  }
}

}  // namespace

// Whether the pass leaves things out: decoding, or all tokens where quality is measured.
bool Forward::restricts() const {
  return mode == Mode::kSparse && input_->selections.empty() && (decodes_ || predict_every_token);
}

// Chooses the neurons that the layer's MLP will compute, if its predictor reads this input.
void Forward::predict(size_t layer, PredictorInput input, MatView<const float> X) {
  if (!restricts()) return;
  const LayerPlan& p = plan->layers[layer];
  if (!p.neurons || p.input != input) return;
  const MatView<float> scores = buffer(s_score_, X.rows, p.neurons->n_ff());
  p.neurons->score(compute_, X, scores);
  stats.weight_bytes += p.neurons->bytes();
  stats.predictor_bytes += p.neurons->bytes();
  if (predicted_.size() < X.rows) predicted_.resize(X.rows);
  compute_.threads.parallel_for(X.rows, 8, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) select_above(scores.row(t), p.threshold, predicted_[t]);
  });
  is_predicted_ = true;
}

// The neurons that a token is restricted to, from outside or predicted; nullptr: it is not.
const Rows* Forward::selection_of(size_t layer, size_t token) const {
  if (!input_->selections.empty()) return &input_->selections[token].neurons[layer];
  return is_predicted_ ? &predicted_[token] : nullptr;
}

void Forward::mlp_block(size_t layer, MatView<const float> mlp_in, MatView<float> out) {
  predict(layer, PredictorInput::kMlp, mlp_in);
  if (c_.has_experts(layer)) {
    mixture(layer, mlp_in, out);
  } else if (!mlp_smooth(layer, mlp_in, out)) {
    mlp(layer, model_.weights().layers[layer].mlp, mlp_in, out, true);
  }
}

void Forward::count_neurons(size_t layer, uint64_t active, uint64_t all) {
  stats.active_neurons[layer] += active;
  stats.all_neurons[layer] += all;
}

void Forward::mlp(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out, bool observed) {
  if (is_batch(mlp_in.rows) ? mlp_batch(layer, m, mlp_in, out, observed)
                            : mlp_by_neuron(layer, m, mlp_in, out, observed))
    return;
  mlp_dense(layer, m, mlp_in, out, observed);
}

// act(gate) times up where there is a gate, else act(up); `up` is overwritten.
void Forward::activate_rows(MatView<float> gate, MatView<float> up) {
  compute_.threads.parallel_for(up.rows, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) {
      if (gate.rows) {
        activate_gated(c_.activation, gate.row(t), up.row(t));
      } else {
        activate(c_.activation, up.row(t));
      }
    }
  });
}

void Forward::mlp_dense(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out,
                        bool observed, PromptStatistic* statistic) {
  const size_t n_tokens = mlp_in.rows;
  const MatView<float> ff_act = buffer(s_up_, n_tokens, m.n_ff);
  const MatView<float> ff_gate = m.gate.W ? buffer(s_gate_, n_tokens, m.n_ff) : MatView<float>();
  tasks_ = {{m.up.W, m.up.bias, ff_act}};
  if (m.gate.W) tasks_.push_back({m.gate.W, m.gate.bias, ff_gate});
  matmul(compute_, mlp_in, tasks_, bits_);
  stats.weight_bytes += m.up.W.bytes() + (m.gate.W ? m.gate.W.bytes() : 0);
  activate_rows(ff_gate, ff_act);
  if (observer && observed) observer->on_mlp(layer, mlp_in, ff_act);
  if (statistic) statistic->add(compute_, ff_act);
  if (observed) {
    for (size_t t = 0; t < n_tokens; ++t) {
      const Rows* kept = selection_of(layer, t);
      if (kept) keep_selected(*kept, ff_act.row(t));
      const bool sparse = kept || is_relu_family(c_.activation);
      count_neurons(layer, is_predicted_ ? kept->size() : sparse ? count_nonzero(ff_act.row(t)) : m.n_ff, m.n_ff);
    }
  }
  down(m, ff_act, out);
}

void Forward::down(const MlpWeights& m, MatView<const float> ff_act, MatView<float> out) {
  if (!m.W_down_t) return linear(ff_act, m.down, out);
  matmul_transposed(compute_, ff_act, m.W_down_t, m.down.bias, out, bits_);
  stats.weight_bytes += m.W_down_t.bytes();
}

// A few tokens, neuron by neuron: those that were selected beforehand or, in a model whose activation has exact
// zeros, those that are not zero after up (or gate) was computed densely. With a gate, the zeros are known
// before `up` is needed, so its rows are skipped too. Returns false where this does not apply.
bool Forward::mlp_by_neuron(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out,
                            bool observed) {
  const size_t n_tokens = mlp_in.rows;
  const bool selected = observed && selection_of(layer, 0);
  const bool has_zeros = is_relu_family(c_.activation);
  if (!is_few(n_tokens) || (!selected && (!m.W_down_t || !has_zeros || mode == Mode::kDense))) return false;
  const Linear& first = m.gate.W ? m.gate : m.up;
  const MatView<float> ff_act = buffer(s_up_, n_tokens, m.n_ff);
  if (!selected) linear(mlp_in, first, ff_act);
  for (size_t t = 0; t < n_tokens; ++t) {
    const std::span<float> act = ff_act.row(t);
    if (const Rows* kept = selected ? selection_of(layer, t) : nullptr; kept && !kept->is_all()) {
      mlp_selected(m, *kept, mlp_in.row(t), act, out.row(t));
      count_neurons(layer, is_predicted_ ? kept->size() : active_.size(), m.n_ff);
      continue;
    }
    if (selected) linear(mlp_in.row_range(t, 1), first, ff_act.row_range(t, 1));
    activate(c_.activation, act);
    select_nonzero(act, active_);
    const std::span<float> kept = s_gate_.get<float>(m.n_ff).first(active_.size());
    for (size_t k = 0; k < active_.size(); ++k) kept[k] = act[active_.ids()[k]];
    finish_neurons(m, m.W_down_t, mlp_in.row(t), kept, act, out.row(t));
    if (observed) count_neurons(layer, active_.size(), m.n_ff);
  }
  if (observer && observed) observer->on_mlp(layer, mlp_in, ff_act);
  return true;
}

// One token restricted to the neurons `kept`, computed on compact lists of them.
void Forward::mlp_selected(const MlpWeights& m, const Rows& kept, std::span<const float> x,
                           std::span<float> ff_act, std::span<float> y) {
  const Linear& first = m.gate.W ? m.gate : m.up;
  const std::span<float> act = s_gate_.get<float>(m.n_ff).first(kept.size());
  gather_dot(compute_, first.W, kept.ids(), x, act);
  stats.weight_bytes += kept.size() * row_bytes(first.W.dtype, first.W.cols);
  if (!first.bias.empty())
    for (size_t k = 0; k < kept.size(); ++k) act[k] += first.bias[kept.ids()[k]];
  activate(c_.activation, act);
  std::vector<uint32_t>& active = active_.refill(m.n_ff);
  for (size_t k = 0; k < kept.size(); ++k) {
    if (act[k] == 0) continue;
    act[active.size()] = act[k];
    active.push_back(kept.ids()[k]);
  }
  if (observer || !m.W_down_t) std::ranges::fill(ff_act, 0.0f);
  finish_neurons(m, m.W_down_t, x, act.first(active.size()), ff_act, y);
}

// From the activations `act` of the neurons active_ to the MLP's output: times up where gated, then down.
// `ff_act` [n_ff], zero elsewhere, gets the products where someone needs them there. W_down_t: by neuron, or none: down
// is read whole.
void Forward::finish_neurons(const MlpWeights& m, const WeightView& W_down_t, std::span<const float> x,
                             std::span<float> act, std::span<float> ff_act, std::span<float> y) {
  const std::span<const uint32_t> active = active_.ids();
  if (m.gate.W) {
    const std::span<float> up = s_active_up_.get<float>(m.n_ff).first(active.size());
    gather_dot(compute_, m.up.W, active, x, up);
    stats.weight_bytes += active.size() * row_bytes(m.up.W.dtype, m.up.W.cols);
    for (size_t k = 0; k < active.size(); ++k) act[k] *= up[k] + (m.up.bias.empty() ? 0.0f : m.up.bias[active[k]]);
  }
  if (observer || !W_down_t)
    for (size_t k = 0; k < active.size(); ++k) ff_act[active[k]] = act[k];
  if (!W_down_t) return linear({ff_act.data(), 1, m.n_ff}, m.down, {y.data(), 1, y.size()});
  if (m.down.bias.empty()) {
    std::ranges::fill(y, 0.0f);
  } else {
    std::ranges::copy(m.down.bias, y.begin());
  }
  gather_axpy(compute_, W_down_t, active, act, y);
  stats.weight_bytes += active.size() * row_bytes(W_down_t.dtype, W_down_t.cols);
}

// Each token goes to its n_expert_used most probable experts, whose outputs are weighted by the
// router's probabilities; the tokens of one expert make one product (Shazeer et al. 2017).
void Forward::mixture(size_t layer, MatView<const float> mlp_in, MatView<float> out) {
  const LayerWeights& w = model_.weights().layers[layer];
  const size_t n_tokens = mlp_in.rows, n_expert = c_.moe.n_expert, n_used = c_.moe.n_expert_used;
  const MatView<float> router = buffer(s_router_, n_tokens, n_expert);
  linear(mlp_in, w.router, router);
  if (observer) observer->on_router(layer, router);

  routes_.clear();
  order_.resize(n_expert);
  for (size_t t = 0; t < n_tokens; ++t) {
    softmax(router.row(t));
    for (uint32_t e = 0; e < n_expert; ++e) order_[e] = e;
    std::ranges::stable_sort(order_, std::greater<>(), [&](uint32_t e) { return router.row(t)[e]; });
    float total = 0;
    for (size_t i = 0; i < n_used; ++i) total += router.row(t)[order_[i]];
    for (size_t i = 0; i < n_used; ++i)
      routes_.push_back({order_[i], uint32_t(t), router.row(t)[order_[i]] / (c_.moe.renormalise ? total : 1.0f)});
  }
  std::ranges::stable_sort(routes_, {}, &Route::expert);

  for (size_t t = 0; t < n_tokens; ++t) std::ranges::fill(out.row(t), 0.0f);
  const MatView<float> in = buffer(s_expert_in_, n_tokens, c_.n_embd), y = buffer(s_expert_out_, n_tokens, c_.n_embd);
  for (size_t begin = 0, end; begin < routes_.size(); begin = end) {
    for (end = begin; end < routes_.size() && routes_[end].expert == routes_[begin].expert; ++end)
      std::ranges::copy(mlp_in.row(routes_[end].token), in.row(end - begin).begin());
    mlp(layer, w.experts[routes_[begin].expert], in.row_range(0, end - begin), y.row_range(0, end - begin), false);
    for (size_t i = begin; i < end; ++i) axpy(routes_[i].weight, y.row(i - begin), out.row(routes_[i].token));
  }
  count_neurons(layer, n_tokens * n_used * c_.moe.n_ff, n_tokens * n_expert * c_.moe.n_ff);

  if (w.shared_expert.n_ff == 0) return;
  mlp(layer, w.shared_expert, mlp_in, y, false);
  for (size_t t = 0; t < n_tokens; ++t) {
    float gate = 1.0f;
    if (w.shared_gate.W) {
      const Linear& g = w.shared_gate;
      const MatmulTask task{g.W, g.bias, MatView<float>(&gate, 1, 1)};
      matmul(compute_, mlp_in.row_range(t, 1), {&task, 1}, bits_);
      gate = sigmoid(gate);
    }
    axpy(gate, y.row(t), out.row(t));
  }
}

}  // namespace hunch
