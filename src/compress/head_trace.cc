#include "compress/head_trace.h"

#include <cmath>

#include "base/error.h"
#include "formats/format.h"
#include "kernels/ops.h"
#include "linear/values.h"

namespace hunch {

GroupNorms::GroupNorms(Compute& compute, const WeightView& W_o, size_t n_groups) {
  const size_t width = W_o.cols / n_groups;
  Matrix rows(W_o.rows, W_o.cols);
  decode_rows(compute, W_o, rows.view());
  for (size_t g = 0; g < n_groups; ++g) {
    const Matrix columns = transpose(compute, rows.view().col_range(g * width, width));
    gram_.push_back(multiply_nt(compute, columns.view(), columns.weights()));
  }
}

void GroupNorms::squared(Compute& compute, MatView<const float> attn_out, MatView<float> squared) const {
  for (size_t g = 0; g < gram_.size(); ++g) {
    const MatView<const float> x = attn_out.col_range(g * gram_[g].rows, gram_[g].rows);
    const Matrix Gx = multiply_nt(compute, x, gram_[g].weights());
    for (size_t t = 0; t < x.rows; ++t) squared.row(t)[g] = dot(x.row(t), Gx.row(t));
  }
}

void HeadTrace::read(size_t first, MatView<float> out) const {
  for (size_t r = 0; r < out.rows; ++r)
    for (size_t c = 0; c < n_embd; ++c) out.row(r)[c] = to_f32(input[(first + r) * n_embd + c]);
}

size_t head_trace_bytes_per_token(const ModelConfig& c) { return c.n_embd * sizeof(f16) + c.n_kv_head * sizeof(float); }

HeadRecorder::HeadRecorder(const Engine& engine, Look input, size_t first_layer, size_t n_layers, size_t n_tokens)
    : compute_(*engine.compute), input_(input), first_layer_(first_layer), traces_(n_layers) {
  const ModelConfig& c = engine.config();
  for (size_t i = 0; i < n_layers; ++i) {
    HeadTrace& t = traces_[i];
    t.layer = first_layer + i;
    t.n_embd = c.n_embd;
    t.n_groups = c.layers[t.layer].n_kv_head;
    t.input.reserve(n_tokens * c.n_embd);
    t.share.reserve(n_tokens * t.n_groups);
    norms_.emplace_back(compute_, Values(compute_, *engine.model->weights().layers[t.layer].attention.o).rows(),
                        t.n_groups);
  }
}

HeadTrace* HeadRecorder::trace_of(size_t layer) {
  return layer >= first_layer_ && layer < first_layer_ + traces_.size() ? &traces_[layer - first_layer_] : nullptr;
}

void HeadRecorder::on_attention_input(size_t layer, MatView<const float> x) {
  HeadTrace* t = trace_of(input_ == Look::kHere ? layer : layer + 1);
  if (!t) return;
  const size_t first = t->input.size();
  t->input.resize(first + x.rows * x.cols);
  for (size_t r = 0; r < x.rows; ++r) to_f16(x.row(r), std::span(t->input).subspan(first + r * x.cols, x.cols));
}

void HeadRecorder::on_heads(size_t layer, MatView<const float> attn_out) {
  HeadTrace* t = trace_of(layer);
  if (!t) return;
  const size_t first = t->n_tokens;
  t->n_tokens += attn_out.rows;
  t->share.resize(t->n_tokens * t->n_groups);
  const MatView<float> share(&t->share[first * t->n_groups], attn_out.rows, t->n_groups);
  norms_[layer - first_layer_].squared(compute_, attn_out, share);
  for (size_t r = 0; r < share.rows; ++r) {
    double sum = 0;
    for (float& s : share.row(r)) sum += s = s < 0 ? 0.0f : s;  // rounding; NaN stays
    if (!std::isfinite(sum))
      fail(ErrorKind::kFormat,
           "layer {}, token {} of the text: a head's output is not finite; is the model file damaged?", layer,
           first + r);
    if (sum > 0) scale(float(1 / sum), share.row(r));
  }
}

}  // namespace hunch
