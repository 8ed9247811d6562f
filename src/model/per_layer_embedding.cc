#include "model/per_layer_embedding.h"

#include <cmath>

#include "kernels/look_up.h"
#include "model/step.h"

namespace hunch {

void PerLayerEmbedding::operator()(Step& s, const ModelConfig& c, MatView<const float> embedding,
                                   MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const std::span<int32_t> ids = s.compute.arena.take<int32_t>(y.rows);
  for (size_t t = 0; t < y.rows; ++t) ids[t] = size_t(s.input.ids[t]) < table.rows ? s.input.ids[t] : 0;
  look_up_rows(s.compute, table, ids, y);
  const MatView<float> projected = s.take(y.rows, y.cols);
  project->dot(s.compute, s.all().traits, embedding, {}, projected);
  const float of_table = float(std::sqrt(double(n))), of_projection = float(1 / std::sqrt(double(c.n_embd)));
  for (size_t t = 0; t < y.rows; ++t) {
    scale(of_table, y.row(t));
    scale(of_projection, projected.row(t));
  }
  for (size_t first = 0; first < y.cols; first += n) {
    const MatView<float> part = projected.col_range(first, n);
    norm_rows(s.compute, c.norm, c.norm_eps, part, norm, part);
  }
  add_rows(s.compute, 1.0f, projected, y);
  for (size_t t = 0; t < y.rows; ++t) scale(float(std::sqrt(0.5)), y.row(t));
}

void PerLayerInput::operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const StageScope stage(s.compute, Stage::kEmbedding);
  const Tokens tokens = s.all().traits;
  const MatView<float> gates = s.take(x.rows, gate->n_out);
  gate->dot(s.compute, tokens, x, {}, gates);
  for (size_t t = 0; t < x.rows; ++t) {
    activate(c.activation, gates.row(t));
    multiply(s.per_layer.row(t).subspan(c.index * gates.cols, gates.cols), gates.row(t));
  }
  project->dot(s.compute, tokens, gates, {}, y);
  norm_rows(s.compute, c, y, norm, y);
}

}  // namespace hunch
