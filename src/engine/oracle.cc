#include "engine/oracle.h"

#include <cmath>

#include "formats/format.h"
#include "kernels/ops.h"
#include "select/top_k.h"

namespace hunch {
namespace {

size_t kept(double density, size_t n) { return std::min(n, size_t(std::ceil(density * double(n) - 1e-9))); }

}  // namespace

std::vector<float> neuron_norms(const MlpWeights& m) {
  std::vector<float> norms(m.n_ff, 0.0f);
  if (m.W_down_t) {
    std::vector<float> row(m.W_down_t.cols);
    for (size_t k = 0; k < m.n_ff; ++k) {
      codec(m.W_down_t.dtype).decode(m.W_down_t.row(k), row.data(), row.size());
      norms[k] = std::sqrt(dot(row, row));
    }
    return norms;
  }
  std::vector<float> row(m.n_ff);
  for (size_t r = 0; r < m.down.W.rows; ++r) {
    codec(m.down.W.dtype).decode(m.down.W.row(r), row.data(), row.size());
    for (size_t k = 0; k < m.n_ff; ++k) norms[k] += row[k] * row[k];
  }
  for (float& v : norms) v = std::sqrt(v);
  return norms;
}

OracleRecorder::OracleRecorder(const Model& model, double density, double head_density)
    : c_(model.config()), density_(density), head_density_(head_density) {
  for (const LayerWeights& l : model.weights().layers)
    down_norm_.push_back(l.experts.empty() ? neuron_norms(l.mlp) : std::vector<float>());
}

void OracleRecorder::begin(size_t n_tokens) {
  selections_.resize(n_tokens);
  for (TokenSelection& s : selections_) {
    s.neurons.assign(c_.n_layer, Rows::all(c_.n_ff));
    s.heads.assign(c_.n_layer, Rows::all(c_.n_head));
  }
}

void OracleRecorder::on_heads(size_t layer, MatView<const float> attn_out) {
  score_.resize(c_.n_head);
  for (size_t t = 0; t < attn_out.rows; ++t) {
    for (size_t h = 0; h < c_.n_head; ++h) {
      const auto head = attn_out.row(t).subspan(h * c_.d_head, c_.d_head);
      score_[h] = dot(head, head);
    }
    select_top_k(score_, kept(head_density_, c_.n_head), selections_[t].heads[layer]);
  }
}

void OracleRecorder::on_mlp(size_t layer, MatView<const float>, MatView<const float> ff_act) {
  score_.resize(ff_act.cols);
  for (size_t t = 0; t < ff_act.rows; ++t) {
    for (size_t k = 0; k < ff_act.cols; ++k) score_[k] = std::abs(ff_act.row(t)[k]) * down_norm_[layer][k];
    select_top_k(score_, kept(density_, ff_act.cols), selections_[t].neurons[layer]);
  }
}

}  // namespace hunch
