// The MLP of a decode batch: several sequences with few new tokens each, of which every token needs neurons of its own.
#include <algorithm>

#include "kernels/ops.h"
#include "model/forward.h"
#include "select/relu_zeros.h"
#include "select/union.h"

namespace hunch {

// How the rows that the tokens need are read, until the next call.
ChosenRows Forward::choose_rows(RowProduct product, const WeightView& W, std::span<const Rows> own) {
  select_union(own, any_row_);
  const BatchCosts& costs = batch_costs ? *batch_costs : model_.batch_costs();
  const RowPath path =
      any_row_.is_all() ? RowPath::kAll : fastest(costs.of(product, W, own.size(), compute_), own, any_row_);
  const ChosenRows rows{own, &any_row_, path};
  ++stats.batch_products[size_t(path)];
  stats.union_rows += any_row_.size();
  stats.union_of += any_row_.n_total();
  stats.weight_bytes += rows.n_read() * row_bytes(W.dtype, W.cols);
  return rows;
}

// What mlp_by_neuron() does for each token, for several at once: neurons that were selected beforehand, or those that
// are not zero after up (or gate). Returns false where this does not apply.
bool Forward::mlp_batch(size_t layer, const MlpWeights& m, MatView<const float> mlp_in, MatView<float> out,
                        bool observed) {
  const size_t n_tokens = mlp_in.rows;
  const bool selected = observed && selection_of(layer, 0);
  if (!selected && (!m.W_down_t || !is_relu_family(c_.activation) || mode == Mode::kDense)) return false;
  const Linear& first = m.gate.W ? m.gate : m.up;
  const MatView<float> ff_act = buffer(s_up_, n_tokens, m.n_ff);
  if (selected) {
    std::span<const Rows> own = std::span(predicted_).first(is_predicted_ ? n_tokens : 0);
    if (!is_predicted_) {
      kept_rows_.resize(n_tokens);
      for (size_t t = 0; t < n_tokens; ++t) kept_rows_[t] = *selection_of(layer, t);
      own = kept_rows_;
    }
    dot_chosen(compute_, first.W, first.bias, choose_rows(RowProduct::kDot, first.W, own), mlp_in, ff_act);
  } else {
    linear(mlp_in, first, ff_act);
  }
  // Every activation maps 0 to 0: what a token was not given stays zero.
  active_rows_.resize(std::max(active_rows_.size(), n_tokens));
  compute_.threads.parallel_for(n_tokens, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t t = begin; t < end; ++t) {
      activate(c_.activation, ff_act.row(t));
      select_nonzero(ff_act.row(t), active_rows_[t]);
    }
  });
  for (size_t t = 0; observed && t < n_tokens; ++t)
    count_neurons(layer, is_predicted_ ? predicted_[t].size() : active_rows_[t].size(), m.n_ff);
  finish_batch(layer, m, m.W_down_t, mlp_in, ff_act, out, observed);
  return true;
}

// From the activations of the neurons active_rows_ [n_tokens], zero elsewhere, to the MLP's output: times up where
// gated, then down. W_down_t: by neuron, or none: down is read whole.
void Forward::finish_batch(size_t layer, const MlpWeights& m, const WeightView& W_down_t, MatView<const float> mlp_in,
                           MatView<float> ff_act, MatView<float> out, bool observed) {
  const size_t n_tokens = mlp_in.rows;
  const std::span<const Rows> active = std::span(active_rows_).first(n_tokens);
  if (m.gate.W) {
    const MatView<float> up = buffer(s_active_up_, n_tokens, m.n_ff);
    dot_chosen(compute_, m.up.W, m.up.bias, choose_rows(RowProduct::kDot, m.up.W, active), mlp_in, up);
    compute_.threads.parallel_for(n_tokens, 1, [&](size_t begin, size_t end, size_t) {
      for (size_t t = begin; t < end; ++t)
        for (size_t i = 0; i < m.n_ff; ++i) ff_act.row(t)[i] *= up.row(t)[i];
    });
  }
  if (observer && observed) observer->on_mlp(layer, mlp_in, ff_act);
  if (!W_down_t) return linear(ff_act, m.down, out);
  add_chosen(compute_, W_down_t, m.down.bias, choose_rows(RowProduct::kAdd, W_down_t, active), ff_act, out);
}

}  // namespace hunch
