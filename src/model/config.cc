#include "model/config.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

void in_range(const char* field, size_t value, size_t low, size_t high) {
  if (value < low || value > high)
    fail(ErrorKind::kFormat, "model config: {} is {}, expected {} to {}", field, value, low, high);
}

constexpr size_t kLarge = size_t{1} << 24;

void validate_sizes(const ModelConfig& c) {
  in_range("n_layer", c.n_layer, 1, 10000);
  in_range("n_embd", c.n_embd, 1, kLarge);
  in_range("n_embd_word", c.n_embd_word, 1, kLarge);
  in_range("n_vocab", c.n_vocab, 1, kLarge * 16);
  in_range("n_ctx_train", c.n_ctx_train, 1, size_t{1} << 32);
  if (!c.rope_layers.empty() && c.rope_layers.size() != c.n_layer)
    fail(ErrorKind::kFormat, "model config: {} entries of layers that rotate for {} layers", c.rope_layers.size(),
         c.n_layer);
  if (!c.mixers.empty() && c.mixers.size() != c.n_layer)
    fail(ErrorKind::kFormat, "model config: {} kinds of mixers for {} layers", c.mixers.size(), c.n_layer);
  in_range("streams", c.n_streams, 1, 64);
  in_range("the active stream", c.active_stream, 0, c.n_streams - 1);
  if (!c.gate_cutoffs.empty() && c.gate_cutoffs.size() != c.n_layer)
    fail(ErrorKind::kFormat, "model config: {} cut-offs of gates for {} layers", c.gate_cutoffs.size(), c.n_layer);
  for (const float cutoff : c.gate_cutoffs)
    if (!(cutoff < INFINITY)) fail(ErrorKind::kFormat, "model config: gates are cut off at {} deviations", cutoff);
  in_range("layers without keys of their own", c.n_borrowing, 0, c.n_layer - 1);
  in_range("values of a token for each layer", c.n_per_layer, 0, kLarge);
  if (!c.windows.empty() && c.windows.size() != c.n_layer)
    fail(ErrorKind::kFormat, "model config: {} attention windows for {} layers", c.windows.size(), c.n_layer);
}

}  // namespace

namespace {

// From the last layer of its kind among those that have keys of their own.
void borrow_keys(ModelConfig& c, LayerConfig& l) {
  for (size_t i = c.n_layer - c.n_borrowing; i-- > 0;) {
    LayerConfig& other = c.layers[i];
    if ((other.window > 0) != (l.window > 0)) continue;
    if (other.n_kv_head != l.n_kv_head || other.d_head != l.d_head)
      fail(ErrorKind::kFormat,
           "model config: layer {} has {} key heads of {}, those of layer {}, which it reads, are {} of {}", l.index,
           l.n_kv_head, l.d_head, i, other.n_kv_head, other.d_head);
    l.keys_from = i;
    l.keys_as_values = false;
    other.lends_keys = true;
    return;
  }
  fail(ErrorKind::kFormat, "model config: layer {} reads the keys of an earlier layer {} a window, and there is none",
       l.index, l.window > 0 ? "with" : "without");
}

}  // namespace

void lay_out(ModelConfig& c, const std::function<void(LayerConfig&)>& change) {
  validate_sizes(c);
  LayerConfig all;
  all.n_embd = c.n_embd;
  all.n_streams = c.n_streams;
  all.active_stream = c.active_stream;
  all.norm = c.norm;
  all.norm_place = c.norm_place;
  all.norm_eps = c.norm_eps;
  all.parallel_residual = c.parallel_residual;
  all.residual_scale = c.residual_scale;
  all.sub_norms = c.sub_norms;
  all.round_inputs = c.round_inputs;
  all.n_head = c.n_head;
  all.n_kv_head = c.n_kv_head;
  all.d_head = c.d_head;
  all.attn_scale = c.attn_scale;
  all.attn_soft_cap = c.attn_soft_cap;
  all.clip_qkv = c.clip_qkv;
  all.qk_norm = c.qk_norm;
  all.qk_norm_kind = c.qk_norm_kind;
  all.rotates = c.position == PositionKind::kRope;
  all.rope_interleaved = c.rope.interleaved;
  all.n_ff = c.n_ff;
  all.activation = c.activation;
  all.details = c.activation_details;
  all.value_norm = c.value_norm;
  all.temperature = c.temperature;
  all.latent = c.latent;
  all.relative = c.relative;
  all.output_gate = c.output_gate;
  all.causal = c.causal;
  all.gated = c.gated;
  c.layers.assign(c.n_layer, all);
  for (size_t i = 0; i < c.n_layer; ++i) {
    LayerConfig& l = c.layers[i];
    l.index = l.keys_from = i;
    l.first_norm = i > 0 || c.first_norm;
    if (i < c.keys_as_values.size()) l.keys_as_values = c.keys_as_values[i];
    if (i < c.gate_cutoffs.size()) l.gate_cutoff = c.gate_cutoffs[i];
    if (i < c.windows.size()) l.window = c.windows[i];
    if (i < c.rope_layers.size()) l.rotates = l.rotates && c.rope_layers[i];
    if (c.moe.n_expert > 0 && (i >= c.moe_layers.size() || c.moe_layers[i])) l.moe = c.moe;
    if (i < c.mixers.size()) l.mixer = c.mixers[i];
    if (l.is_recurrent()) l.recurrent = c.recurrent;
    if (change) change(l);
    if (l.rotates && l.window == 0) l.extend = c.rope_number(l.rope).extend;
    if (!l.has_attention()) l.n_head = c.n_head, l.n_kv_head = c.n_kv_head;  // nobody's
    if (i + c.n_borrowing >= c.n_layer) borrow_keys(c, l);
    if (c.position != PositionKind::kAlibi) continue;
    l.alibi_slopes = alibi_slopes(l.n_head, c.alibi_max_bias);
    for (float& slope : l.alibi_slopes) slope *= c.alibi_scale;
  }
}

bool can_choose_heads(const ModelConfig& config) {
  return std::ranges::all_of(config.layers,
                             [](const LayerConfig& l) { return !l.has_attention() || can_choose_heads(l); });
}

namespace {

void validate(const RecurrentConfig& r) {
  in_range("taps of the convolution", r.n_taps, 1, 16);
  in_range("heads with a state", r.n_head, 1, 65536);
  in_range("values of a state's head", r.d_head, 1, kLarge);
  in_range("values of a state", r.d_state, 0, 65536);
  in_range("groups of a state", r.n_group, r.d_state ? 1 : 0, r.n_head);
  if (r.n_group && r.n_head % r.n_group != 0)
    fail(ErrorKind::kFormat, "model config: {} heads with a state are no multiple of {} groups", r.n_head, r.n_group);
}

void validate(const LayerConfig& l) {
  if (l.is_recurrent()) validate(l.recurrent);
  if (!l.has_attention() && !l.is_recurrent() && !l.has_mlp())
    fail(ErrorKind::kFormat, "model config: layer {} has no block", l.index);
  in_range("n_head", l.n_head, 1, 65536);
  in_range("n_kv_head", l.n_kv_head, 1, l.n_head);
  in_range("d_head", l.d_head, 1, 65536);
  if (l.n_head % l.n_kv_head != 0)
    fail(ErrorKind::kFormat, "model config: n_head {} is not a multiple of n_kv_head {}", l.n_head, l.n_kv_head);
  if (l.latent.rank > 0) {
    in_range("latent rank", l.latent.rank, 1, kLarge);
    in_range("rank of queries", l.latent.rank_q, 0, kLarge);
    in_range("values of a query that are not rotated", l.latent.d_plain, 1, 65536);
    in_range("values of a head", l.latent.d_value, 1, 65536);
  }
  if (!l.causal && !l.alibi_slopes.empty())
    fail(ErrorKind::kUnsupported, "layer {} is not causal and has ALiBi, which hunch computes of causal layers only",
         l.index);
  if (l.relative.on) {
    in_range("tokens of memory", l.relative.memory, l.relative.segment ? 0 : 1, kLarge);
    in_range("tokens of a segment", l.relative.segment, 0, kLarge);
    in_range("distances that differ", l.relative.clamp, 0, kLarge);
  }
  if (l.extend.on() && (!l.causal || l.latent.rank > 0))
    fail(ErrorKind::kUnsupported,
         "layer {} {}: Self-Extend, which turns near and far keys otherwise, is not computed of such layers", l.index,
         l.causal ? "has latent keys" : "is not causal");
  if (!l.has_experts() || l.moe.beside_mlp)
    in_range("n_ff", l.n_ff, l.is_recurrent() || l.has_attention() ? 0 : 1, kLarge);
  if (l.has_experts()) {
    in_range("n_expert", l.moe.n_expert, 1, 65536);
    in_range("n_expert_used", l.moe.n_expert_used, 1, l.moe.n_expert);
    in_range("expert n_ff", l.moe.n_ff, 1, kLarge);
    in_range("values that experts share", l.moe.n_latent, 0, kLarge);
    in_range("expert groups", l.moe.n_group, 1, l.moe.n_expert);
    in_range("expert groups used", l.moe.n_group_used, 1, l.moe.n_group);
    if (l.moe.n_expert % l.moe.n_group || l.moe.n_expert_used > l.moe.n_expert / l.moe.n_group * l.moe.n_group_used)
      fail(ErrorKind::kFormat, "model config: {} of {} experts, in {} of {} groups", l.moe.n_expert_used,
           l.moe.n_expert, l.moe.n_group_used, l.moe.n_group);
  }
  if (!(l.norm_eps >= 0) || !std::isfinite(l.attn_scale) || l.attn_scale <= 0)
    fail(ErrorKind::kFormat, "model config: norm_eps {} or attention scale {} is not usable", l.norm_eps, l.attn_scale);
}

void validate(const RopeConfig& rope, size_t d_head) {
  in_range("rope dimensions", rope.n_rot, 2, d_head);
  if (rope.n_rot % 2) fail(ErrorKind::kFormat, "model config: rope dimensions {} is odd", rope.n_rot);
  if (!(rope.base > 0)) fail(ErrorKind::kFormat, "model config: rope base {} is not positive", rope.base);
  if (rope.extend.group == 0 || (rope.extend.on() && rope.extend.window == 0))
    fail(ErrorKind::kFormat, "model config: Self-Extend divides positions by {} from {} tokens on, expected 1 or more",
         rope.extend.group, rope.extend.window);
  if (!(rope.factor > 0)) fail(ErrorKind::kFormat, "model config: rope factor {} is not positive", rope.factor);
  for (const auto* factors : {&rope.freq_factors, &rope.long_factors, &rope.short_factors})
    if (!factors->empty() && factors->size() != rope.n_rot / 2)
      fail(ErrorKind::kFormat, "model config: {} rope factors, expected {}", factors->size(), rope.n_rot / 2);
}

}  // namespace

void validate(const ModelConfig& c) {
  validate_sizes(c);
  HUNCH_CHECK(c.layers.size() == c.n_layer, "{} of {} layers are laid out", c.layers.size(), c.n_layer);
  for (const LayerConfig& l : c.layers) {
    validate(l);
    if (!l.rotates) continue;
    HUNCH_CHECK(l.rope < c.n_ropes(), "rope {} of {}", l.rope, c.n_ropes());
    validate(c.rope_number(l.rope), l.d_head);
  }
}

void require_blocks(const ModelConfig& config, bool attention, std::string_view who) {
  for (const LayerConfig& l : config.layers)
    if (!l.has_mlp() || (attention && !l.has_attention()))
      fail(ErrorKind::kUnsupported,
           "layer {} of the model has no {}, with which {} works; such models run dense or exact", l.index,
           l.has_mlp() ? "attention" : "MLP", who);
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
