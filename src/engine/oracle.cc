#include "engine/oracle.h"

#include <cmath>

#include "formats/format.h"
#include "kernels/ops.h"
#include "linear/values.h"
#include "select/prompt_selector.h"
#include "select/selectors.h"
#include "select/top_k.h"

namespace hunch {

std::vector<float> neuron_norms(Compute& compute, const Linear& down) {
  std::vector<float> norms(down.n_in, 0.0f), row;
  if (const WeightView W = down.by_input()) {
    row.resize(W.cols);
    for (size_t k = 0; k < W.rows; ++k) {
      codec(W.dtype).decode(W.row(k), row.data(), row.size());
      norms[k] = std::sqrt(dot(row, row));
    }
    return norms;
  }
  const Values values(compute, down);
  const WeightView& W = values.rows();
  row.resize(W.cols);
  for (size_t r = 0; r < W.rows; ++r) {
    codec(W.dtype).decode(W.row(r), row.data(), row.size());
    for (size_t k = 0; k < W.cols; ++k) norms[k] += row[k] * row[k];
  }
  for (float& v : norms) v = std::sqrt(v);
  return norms;
}

OracleRecorder::OracleRecorder(Compute& compute, const Model& model, double density, double head_density)
    : c_(model.config()), density_(density), head_density_(head_density), neurons_(c_.n_layer), heads_(c_.n_layer) {
  for (const Layer& l : model.weights().layers)
    down_norm_.push_back(l.mlp.n_ff ? neuron_norms(compute, *l.mlp.down) : std::vector<float>());
}

void OracleRecorder::begin(size_t n_tokens) {
  plan_ = Plan::exact(c_);
  plan_.name = "oracle";
  for (size_t l = 0; l < c_.n_layer; ++l) {
    neurons_[l].assign(n_tokens, Rows::all(c_.layers[l].n_ff));
    heads_[l].assign(n_tokens, Rows::all(c_.layers[l].n_head));
    if (density_ < 1) plan_.set(l, Point::kNeurons, {std::make_shared<const Given>(neurons_[l])});
    if (head_density_ < 1) plan_.set(l, Point::kHeads, {std::make_shared<const Given>(heads_[l])});
  }
}

void OracleRecorder::on_heads(size_t layer, MatView<const float> attn_out) {
  const LayerConfig& c = c_.layers[layer];
  const size_t d_head = attn_out.cols / c.n_head;
  score_.resize(c.n_head);
  for (size_t t = 0; t < attn_out.rows; ++t) {
    for (size_t h = 0; h < c.n_head; ++h) {
      const auto head = attn_out.row(t).subspan(h * d_head, d_head);
      score_[h] = dot(head, head);
    }
    select_top_k(score_, n_kept(head_density_, c.n_head), heads_[layer][t]);
  }
}

void OracleRecorder::on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> ff_act) {
  if (!place.is_dense()) return;
  score_.resize(ff_act.cols);
  for (size_t t = 0; t < ff_act.rows; ++t) {
    for (size_t k = 0; k < ff_act.cols; ++k) score_[k] = std::abs(ff_act.row(t)[k]) * down_norm_[place.layer][k];
    select_top_k(score_, n_kept(density_, ff_act.cols), neurons_[place.layer][t]);
  }
}

}  // namespace hunch
