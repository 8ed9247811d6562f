// The MLP half of a layer: dense, neuron by neuron (exact and selected), and as a mixture of experts.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/gather.h"
#include "kernels/ops.h"
#include "model/forward.h"
#include "select/relu_zeros.h"

namespace hunch {
namespace {

// Up to this many tokens, each token's own neurons are gathered; beyond it the union of their active
// neurons is most of the layer and the dense product reads every row once for all tokens.
constexpr size_t kMaxGatheredTokens = 4;

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

uint64_t count_nonzero(std::span<const float> x) {
  return uint64_t(std::ranges::count_if(x, [](float v) { return v != 0.0f; }));
}

// Zeroes what is not selected.
void keep_selected(const Selection& kept, std::span<float> x) {
  if (kept.is_all()) return;
  size_t next = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (next < kept.size() && kept.rows()[next] == i) {
      ++next;
    } else {
      x[i] = 0;
    }
  }
}

}  // namespace

void Forward::mlp_block(size_t layer, MatView<const float> mlp_in, MatView<float> out) {
  if (c_.has_experts(layer)) {
    mixture(layer, mlp_in, out);
  } else {
    mlp(layer, model_.weights().layers[layer].mlp, mlp_in, out, true);
  }
}

void Forward::count_neurons(size_t layer, uint64_t active, uint64_t all) {
  stats.active_neurons[layer] += active;
  stats.all_neurons[layer] += all;
}

void Forward::mlp(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out, bool observed) {
  if (mlp_by_neuron(layer, m, mlp_in, out, observed)) return;
  const size_t n_tokens = mlp_in.rows;
  const MatView<float> ff_act = buffer(s_up_, n_tokens, m.n_ff);
  const MatView<float> ff_gate = m.gate.W ? buffer(s_gate_, n_tokens, m.n_ff) : MatView<float>();
  tasks_ = {{m.up.W, m.up.bias, ff_act}};
  if (m.gate.W) tasks_.push_back({m.gate.W, m.gate.bias, ff_gate});
  matmul(pool_, mlp_in, tasks_, s_matmul_, bits_);
  stats.weight_bytes += m.up.W.bytes() + (m.gate.W ? m.gate.W.bytes() : 0);
  pool_.parallel_for(n_tokens, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) {
      if (m.gate.W) {
        activate_gated(c_.activation, ff_gate.row(t), ff_act.row(t));
      } else {
        activate(c_.activation, ff_act.row(t));
      }
    }
  });
  if (observer && observed) observer->on_mlp(layer, mlp_in, ff_act);
  if (observed) {
    for (size_t t = 0; t < n_tokens; ++t) {
      if (!input_->selections.empty()) keep_selected(input_->selections[t].neurons[layer], ff_act.row(t));
      const bool sparse = is_relu_family(c_.activation) || !input_->selections.empty();
      count_neurons(layer, sparse ? count_nonzero(ff_act.row(t)) : m.n_ff, m.n_ff);
    }
  }
  if (m.W_down_t) {
    matmul_transposed(pool_, ff_act, m.W_down_t, m.down.bias, out, s_matmul_, bits_);
    stats.weight_bytes += m.W_down_t.bytes();
  } else {
    linear(ff_act, m.down, out);
  }
}

// A few tokens of a model whose activation has exact zeros: up (or gate) is dense, or gathered where the
// token's neurons were selected beforehand; then only rows of neurons that are not zero are read. With a
// gate, the zeros are known before `up` is needed, so its rows are skipped too. Returns false where
// this does not apply.
bool Forward::mlp_by_neuron(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out, bool observed) {
  const size_t n_tokens = mlp_in.rows;
  const bool selected = observed && !input_->selections.empty();
  const bool few = n_tokens <= kMaxGatheredTokens || input_->as_alone;  // alone, a token is gathered
  if (!m.W_down_t || !few || (mode == Mode::kDense && !selected)) return false;
  const Linear& first = m.gate.W ? m.gate : m.up;
  const MatView<float> ff_act = buffer(s_up_, n_tokens, m.n_ff);
  if (!selected) linear(mlp_in, first, ff_act);
  for (size_t t = 0; t < n_tokens; ++t) {
    const std::span<float> act = ff_act.row(t);
    if (selected) gather_linear(first, input_->selections[t].neurons[layer], mlp_in.row(t), act);
    activate(c_.activation, act);
    if (selected) keep_selected(input_->selections[t].neurons[layer], act);  // f(0) need not be 0
    select_nonzero(act, active_);
    const std::span<float> kept = s_gate_.get<float>(m.n_ff).first(active_.size());
    if (m.gate.W) {
      gather_dot(pool_, m.up.W, active_.rows(), mlp_in.row(t), kept, s_kernel_);
      stats.weight_bytes += active_.size() * row_bytes(m.up.W.dtype, m.up.W.cols);
    }
    for (size_t k = 0; k < active_.size(); ++k) {
      const uint32_t neuron = active_.rows()[k];
      if (!m.gate.W) {
        kept[k] = act[neuron];
      } else {
        act[neuron] *= kept[k] + (m.up.bias.empty() ? 0.0f : m.up.bias[neuron]);
        kept[k] = act[neuron];
      }
    }
    const std::span<float> y = out.row(t);
    if (m.down.bias.empty()) {
      std::ranges::fill(y, 0.0f);
    } else {
      std::ranges::copy(m.down.bias, y.begin());
    }
    gather_axpy(pool_, m.W_down_t, active_.rows(), kept, y, s_kernel_);
    stats.weight_bytes += active_.size() * row_bytes(m.W_down_t.dtype, m.W_down_t.cols);
    if (observed) count_neurons(layer, active_.size(), m.n_ff);
  }
  if (observer && observed) observer->on_mlp(layer, mlp_in, ff_act);
  return true;
}

// y[r] = W[r, :] x + b[r] for the selected rows r, 0 for the others.
void Forward::gather_linear(const Linear& l, const Selection& rows, std::span<const float> x, std::span<float> y) {
  if (rows.is_all()) {
    const MatView<float> view(y.data(), 1, y.size());
    return linear(MatView<const float>(x.data(), 1, x.size()), l, view);
  }
  const std::span<float> gathered = s_gate_.get<float>(y.size()).first(rows.size());
  gather_dot(pool_, l.W, rows.rows(), x, gathered, s_kernel_);
  stats.weight_bytes += rows.size() * row_bytes(l.W.dtype, l.W.cols);
  std::ranges::fill(y, 0.0f);
  for (size_t k = 0; k < rows.size(); ++k) {
    const uint32_t row = rows.rows()[k];
    y[row] = gathered[k] + (l.bias.empty() ? 0.0f : l.bias[row]);
  }
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
      matmul(pool_, mlp_in.row_range(t, 1), {&task, 1}, s_matmul_, bits_);
      gate = sigmoid(gate);
    }
    axpy(gate, y.row(t), out.row(t));
  }
}

}  // namespace hunch
