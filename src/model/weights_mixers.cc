// Attention, latent attention and what keeps a state, from a file's tensors.
#include "base/error.h"
#include "linear/stored.h"
#include "model/relative_positions.h"
#include "model/weight_loader.h"

namespace hunch {

void WeightLoader::latent_attention(const std::string& blk, const LayerConfig& c, Attention& a) {
  const LatentConfig& l = c.latent;
  const size_t n_rot = c.d_head - l.rank, n_q = c.n_head * (l.d_plain + n_rot);
  const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
  if (l.rank_q > 0) {
    a.latent.q_down = linear(id(Role::kQueryDown), blk + "attn_q_a", l.rank_q, c.n_embd, true);
    a.latent.q_norm = norm(blk + "attn_q_a_norm", l.rank_q, true);
    a.latent.q_up = linear(id(Role::kQueryUp), blk + "attn_q_b", n_q, l.rank_q, true);
  } else {
    a.q = linear(id(Role::kQuery), blk + "attn_q", n_q, c.n_embd, true);
  }
  a.latent.kv = linear(id(Role::kLatent), blk + "attn_kv_a_mqa", l.rank + n_rot, c.n_embd, true);
  a.latent.kv_norm = norm(blk + "attn_kv_a_norm", l.rank, true);
  a.latent.key = by_head(id(Role::kLatentKey), blk + "attn_k_b.weight", c.n_head, l.rank, l.d_plain);
  a.latent.value = by_head(id(Role::kLatentValue), blk + "attn_v_b.weight", c.n_head, l.d_value, l.rank);
  a.o = linear(id(Role::kHeads), blk + "attn_output", c.n_embd, c.n_head * l.d_value, true);
}

void WeightLoader::mixer(const std::string& blk, Layer& l) {
  const LayerConfig& c = l.config;
  switch (c.mixer) {
    case Mixer::kNone: return;
    case Mixer::kAttention: return attention(blk, c, l.attention);
    case Mixer::kShortConv: return short_conv(blk + "shortconv.", c, l.short_conv);
    case Mixer::kMamba2: return mamba2(blk, c, l.mamba2);
    case Mixer::kDeltaNet: return delta_net(blk, c, l.delta_net);
  }
}

Vector WeightLoader::taps(const std::string& name, const RecurrentConfig& r) {
  const size_t n = r.n_conv();
  const Vector by_channel = vector(name, n * r.n_taps);
  Vector taps(by_channel.size());
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < r.n_taps; ++j) taps[j * n + i] = by_channel[i * r.n_taps + j];
  return taps;
}

void WeightLoader::short_conv(const std::string& name, const LayerConfig& c, ShortConv& m) {
  const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
  m.in = linear(id(Role::kStateIn), name + "in_proj", 3 * c.recurrent.width(), c.n_embd, true);
  m.taps = taps(name + "conv.weight", c.recurrent);
  m.out = linear(id(Role::kStateOut), name + "out_proj", c.n_embd, c.recurrent.width(), true);
}

void WeightLoader::mamba2(const std::string& blk, const LayerConfig& c, Mamba2& m) {
  const RecurrentConfig& r = c.recurrent;
  const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
  m.in = linear(id(Role::kStateIn), blk + "ssm_in", r.width() + r.n_conv() + r.n_head, c.n_embd, true);
  m.taps = taps(blk + "ssm_conv1d.weight", r);
  m.conv_bias = optional_vector(blk + "ssm_conv1d.bias", r.n_conv());
  m.dt_bias = vector(blk + "ssm_dt.bias", r.n_head);
  m.a = vector(blk + "ssm_a", r.n_head);
  m.d = vector(blk + "ssm_d", r.n_head);
  m.norm = norm(blk + "ssm_norm", r.width(), true);
  m.out = linear(id(Role::kStateOut), blk + "ssm_out", c.n_embd, r.width(), true);
}

void WeightLoader::delta_net(const std::string& blk, const LayerConfig& c, DeltaNet& m) {
  const RecurrentConfig& r = c.recurrent;
  const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
  m.in = linear(id(Role::kStateIn), blk + "attn_qkv", r.n_conv(), c.n_embd, true);
  m.gate = linear(id(Role::kStateGate), blk + "attn_gate", r.width(), c.n_embd, true);
  if (has(blk + "ssm_ba")) {
    m.beta_alpha = linear(id(Role::kStateBeta), blk + "ssm_ba", 2 * r.n_head, c.n_embd, true);
  } else {
    m.beta = linear(id(Role::kStateBeta), blk + "ssm_beta", r.n_head, c.n_embd, true);
    m.alpha = linear(id(Role::kStateAlpha), blk + "ssm_alpha", r.n_head, c.n_embd, true);
  }
  m.taps = taps(blk + "ssm_conv1d.weight", r);
  m.dt_bias = vector(blk + "ssm_dt.bias", r.n_head);
  m.a = vector(blk + "ssm_a", r.n_head);
  m.norm = norm(blk + "ssm_norm", r.d_head, true);
  m.out = linear(id(Role::kStateOut), blk + "ssm_out", c.n_embd, r.width(), true);
}

void WeightLoader::attention(const std::string& blk, const LayerConfig& c, Attention& a) {
  if (c.latent.rank > 0) return latent_attention(blk, c, a);
  const size_t n_q = c.n_head * c.d_head, n_kv = c.n_kv_head * c.d_head;
  const auto id = [&](Role role) { return LinearId{uint32_t(c.index), role}; };
  if (const std::string fused = blk + "attn_qkv.weight"; file_.find(fused)) {
    const WeightView qkv = weights(fused, n_q + 2 * n_kv, c.n_embd);
    const Vector bias = optional_vector(blk + "attn_qkv.bias", n_q + 2 * n_kv);
    const auto part = [&](Role role, size_t begin, size_t n) {
      Vector own;
      if (!bias.empty()) own.assign(bias.begin() + ptrdiff_t(begin), bias.begin() + ptrdiff_t(begin + n));
      return stored(id(role), tensor(fused, begin), qkv.row_range(begin, n), std::move(own));
    };
    a.q = part(Role::kQuery, 0, n_q);
    a.k = part(Role::kKey, n_q, n_kv);
    a.v = part(Role::kValue, n_q + n_kv, n_kv);
  } else {
    a.q = linear(id(Role::kQuery), blk + "attn_q", c.output_gate ? 2 * n_q : n_q, c.n_embd, true);
    if (!c.borrows_keys()) a.k = linear(id(Role::kKey), blk + "attn_k", n_kv, c.n_embd, true);
    if (!c.borrows_keys() && !c.keys_as_values) a.v = linear(id(Role::kValue), blk + "attn_v", n_kv, c.n_embd, true);
  }
  a.o = linear(id(Role::kHeads), blk + "attn_output", c.n_embd, n_q, true);
  if (c.sub_norms) a.sub_norm = norm(blk + "attn_sub_norm", n_q, true);
  a.sinks = optional_vector(blk + "attn_sinks.weight", c.n_head);
  if (c.relative.on) {
    a.content_bias = vector(blk + "attn_content_bias", n_q);
    a.position_bias = vector(blk + "attn_position_bias", n_q);
    a.distances = distance_rows(compute_, c, vector(blk + "attn_rel.weight", n_q * c.n_embd));
  }
  if (c.qk_norm != QkNorm::kNone) {
    const bool shared = c.qk_norm == QkNorm::kShared;
    a.q_norm = norm(blk + "attn_q_norm", shared ? c.d_head : n_q, true);
    if (!c.borrows_keys()) a.k_norm = norm(blk + "attn_k_norm", shared ? c.d_head : n_kv, true);
  }
  cut_heads(c, a);
}

}  // namespace hunch
