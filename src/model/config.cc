#include "model/config.h"

#include <bit>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

void in_range(const char* field, size_t value, size_t low, size_t high) {
  if (value < low || value > high)
    fail(ErrorKind::kFormat, "model config: {} is {}, expected {} to {}", field, value, low, high);
}

}  // namespace

LayerConfig ModelConfig::layer(size_t index) const {
  LayerConfig l;
  l.index = index;
  l.n_embd = n_embd;
  l.norm = norm;
  l.norm_place = norm_place;
  l.norm_eps = norm_eps;
  l.parallel_residual = parallel_residual;
  l.residual_scale = residual_scale;
  l.n_head = n_head;
  l.n_kv_head = n_kv_head;
  l.d_head = d_head;
  l.window = window(index);
  l.attn_scale = attn_scale;
  l.attn_soft_cap = attn_soft_cap;
  l.clip_qkv = clip_qkv;
  l.qk_norm = qk_norm;
  l.qk_norm_kind = qk_norm_kind;
  l.rotates = position == PositionKind::kRope;
  l.rope_interleaved = rope.interleaved;
  l.n_ff = n_ff;
  l.activation = activation;
  if (has_experts(index)) l.moe = moe;
  return l;
}

void validate(const ModelConfig& c) {
  constexpr size_t kLarge = size_t{1} << 24;
  in_range("n_layer", c.n_layer, 1, 10000);
  in_range("n_embd", c.n_embd, 1, kLarge);
  in_range("n_embd_word", c.n_embd_word, 1, kLarge);
  in_range("n_head", c.n_head, 1, 65536);
  in_range("n_kv_head", c.n_kv_head, 1, c.n_head);
  in_range("d_head", c.d_head, 1, 65536);
  in_range("n_vocab", c.n_vocab, 1, kLarge * 16);
  in_range("n_ctx_train", c.n_ctx_train, 1, size_t{1} << 32);
  if (c.n_head % c.n_kv_head != 0)
    fail(ErrorKind::kFormat, "model config: n_head {} is not a multiple of n_kv_head {}", c.n_head, c.n_kv_head);
  if (c.moe.n_expert == 0 || !c.moe_layers.empty()) in_range("n_ff", c.n_ff, 1, kLarge);
  if (c.moe.n_expert > 0) {
    in_range("n_expert", c.moe.n_expert, 1, 65536);
    in_range("n_expert_used", c.moe.n_expert_used, 1, c.moe.n_expert);
    in_range("expert n_ff", c.moe.n_ff, 1, kLarge);
  }
  if (c.position == PositionKind::kRope) {
    in_range("rope dimensions", c.rope.n_rot, 2, c.d_head);
    if (c.rope.n_rot % 2) fail(ErrorKind::kFormat, "model config: rope dimensions {} is odd", c.rope.n_rot);
    if (!(c.rope.base > 0)) fail(ErrorKind::kFormat, "model config: rope base {} is not positive", c.rope.base);
    if (!(c.rope.factor > 0)) fail(ErrorKind::kFormat, "model config: rope factor {} is not positive", c.rope.factor);
    for (const auto* factors : {&c.rope.freq_factors, &c.rope.long_factors, &c.rope.short_factors})
      if (!factors->empty() && factors->size() != c.rope.n_rot / 2)
        fail(ErrorKind::kFormat, "model config: {} rope factors, expected {}", factors->size(), c.rope.n_rot / 2);
  }
  if (!(c.norm_eps >= 0) || !std::isfinite(c.attn_scale) || c.attn_scale <= 0)
    fail(ErrorKind::kFormat, "model config: norm_eps {} or attention scale {} is not usable", c.norm_eps, c.attn_scale);
  if (!c.windows.empty() && c.windows.size() != c.n_layer)
    fail(ErrorKind::kFormat, "model config: {} attention windows for {} layers", c.windows.size(), c.n_layer);
}

std::vector<float> alibi_slopes(size_t n_head, double max_bias) {
  const size_t n_pow2 = std::bit_floor(n_head);
  std::vector<float> slopes;
  for (size_t h = 0; h < n_pow2; ++h) slopes.push_back(float(std::exp2(-max_bias * double(h + 1) / double(n_pow2))));
  for (size_t h = 0; slopes.size() < n_head; ++h)
    slopes.push_back(float(std::exp2(-max_bias * double(2 * h + 1) / double(2 * n_pow2))));
  return slopes;
}

}  // namespace hunch
