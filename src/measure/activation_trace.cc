#include "measure/activation_trace.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {

ActivationTrace::ActivationTrace(const ModelConfig& config, size_t n_tokens)
    : c_(config), layers_(config.n_layer), n_tokens_(n_tokens) {
  size_t per_token = 0;
  for (const LayerConfig& l : c_.layers)
    per_token += (l.has_experts() ? 4 * l.moe.n_expert : 3 * l.n_ff) + l.n_kv_head + 4 * l.n_head;
  constexpr size_t kMostBytes = size_t{4} << 30;
  if (per_token * n_tokens > kMostBytes)
    fail(ErrorKind::kLimit, "the activations of {} tokens take {:.1f} GB; at most {} tokens of this model can be kept",
         n_tokens, double(per_token * n_tokens) / 1e9, kMostBytes / per_token);
  for (size_t i = 0; i < c_.n_layer; ++i) {
    const LayerConfig& l = c_.layers[i];
    Layer& layer = layers_[i];
    layer.head_norms.assign(n_tokens * l.n_head, 0.0f);
    layer.groups.assign(n_tokens * l.n_kv_head, 1);
    if (l.has_experts()) {
      layer.router.assign(n_tokens * l.moe.n_expert, 0.0f);
    } else {
      layer.activations.assign(n_tokens * l.n_ff, f16{});
      layer.neurons.assign(n_tokens * l.n_ff, 1);
    }
  }
}

void ActivationTrace::on_residual(size_t layer, MatView<const float> resid) {
  if (layer != 0) return;
  first_ += n_rows_;
  n_rows_ = resid.rows;
  HUNCH_CHECK(first_ + n_rows_ <= n_tokens_);
}

void ActivationTrace::on_rows(size_t layer, Point point, InputPart, std::span<const uint32_t> tokens,
                              const RowSet& rows, size_t n_rows) {
  std::vector<uint8_t>* kept = point == Point::kHeads                              ? &layers_[layer].groups
                               : point == Point::kNeurons || point == Point::kLive ? &layers_[layer].neurons
                                                                                   : nullptr;
  if (!kept || kept->size() != n_tokens_ * n_rows) return;
  for (size_t i = 0; i < rows.own.size(); ++i) {
    const size_t token = first_ + (tokens.empty() ? i : tokens[i]);
    const auto row = std::span(*kept).subspan(token * n_rows, n_rows);
    if (rows.own[i].is_all()) continue;
    std::ranges::fill(row, uint8_t{0});
    for (const uint32_t r : rows.own[i].ids()) row[r] = 1;
  }
}

void ActivationTrace::on_heads(size_t layer, MatView<const float> attn_out) {
  const size_t n_head = c_.layers[layer].n_head, width = attn_out.cols / n_head;
  for (size_t t = 0; t < attn_out.rows; ++t)
    for (size_t h = 0; h < n_head; ++h) {
      const auto head = attn_out.row(t).subspan(h * width, width);
      layers_[layer].head_norms[(first_ + t) * n_head + h] = std::sqrt(dot(head, head));
    }
}

void ActivationTrace::on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> ff_act) {
  if (!place.is_dense() || layers_[place.layer].activations.empty()) return;
  for (size_t t = 0; t < ff_act.rows; ++t)
    std::ranges::transform(ff_act.row(t), &layers_[place.layer].activations[(first_ + t) * ff_act.cols],
                           [](float x) { return to_f16(x); });
}

void ActivationTrace::on_router(size_t layer, MatView<const float> logits) {
  for (size_t t = 0; t < logits.rows; ++t)
    std::ranges::copy(logits.row(t), &layers_[layer].router[(first_ + t) * logits.cols]);
}

}  // namespace hunch
