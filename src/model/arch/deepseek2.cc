// DeepSeek-V2 and V3 (and Kimi, Moonlight): multi-head latent attention; behind some dense layers mixtures that choose
// by softmax, or by sigmoid scores with a bias, from the best groups of experts, with shared experts.
#include <cmath>

#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

// YaRN's 0.1 m ln s + 1.
double stretch(double multiplier, double factor) { return factor <= 1 ? 1.0 : 0.1 * multiplier * std::log(factor) + 1; }

ModelConfig deepseek_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  const auto size = [&](const char* name) -> size_t { return file.meta.get_uint(fmt::format("deepseek2.{}", name)); };
  const size_t d_query = size("attention.key_length_mla");
  c.latent.rank = size("attention.kv_lora_rank");
  c.latent.rank_q = file.meta.get_uint("deepseek2.attention.q_lora_rank", 0);
  c.latent.d_value = size("attention.value_length_mla");
  if (size("attention.key_length") != c.rope.n_rot + c.latent.rank || size("attention.value_length") != c.latent.rank)
    fail(ErrorKind::kFormat, "keys of {} and values of {} do not fit latents of {}, with {} that are rotated",
         size("attention.key_length"), size("attention.value_length"), c.latent.rank, c.rope.n_rot);
  if (c.latent.rank == 0 || d_query <= c.rope.n_rot)
    fail(ErrorKind::kFormat, "latents of {} values and queries of {}, of which {} are rotated", c.latent.rank, d_query,
         c.rope.n_rot);
  c.latent.d_plain = d_query - c.rope.n_rot;
  c.n_kv_head = 1;
  c.d_head = c.rope.n_rot + c.latent.rank;
  // Files have a tenth of mscale_all_dim, by which scores are stretched, and not, unless they differ, cos and sin.
  const double all = 10 * file.meta.get_float("deepseek2.rope.scaling.yarn_log_multiplier", 0.0);
  const double scale = stretch(all, c.rope.factor), own = stretch(1, c.rope.factor);
  c.attn_scale = float(scale * scale / std::sqrt(double(d_query)));
  if (c.rope.scaling == RopeScaling::kYarn)
    c.rope.attn_factor = own * file.meta.get_float("deepseek2.rope.scaling.attn_factor", all != 0 ? 1 / own : 1.0);
  c.moe.renormalise = file.meta.get_bool("deepseek2.expert_weights_norm", false);
  // V2 ranks groups of experts by their best, V3 by the sum of the two best.
  c.moe.group_best = c.moe.score == RouterScore::kSigmoid ? 2 : 1;
  return c;
}

// Of scores; what cos and sin are multiplied by came with the rest of the scaling.
void import_scaling(HfImport& hf) {
  if (hf.config_string({"rope_scaling.rope_type", "rope_scaling.type"}, "") != "yarn") return;
  hf.set_float("rope.scaling.yarn_log_multiplier", 0.1 * hf.config_float({"rope_scaling.mscale_all_dim"}, 0.0));
}

void import_sizes(HfImport& hf) {
  const size_t rank = hf.config_uint({"kv_lora_rank"}), n_rot = hf.config_uint({"qk_rope_head_dim"});
  hf.set_uint("attention.head_count_kv", 1);
  hf.set_uint("attention.kv_lora_rank", rank);
  if (const size_t rank_q = hf.config_uint({"q_lora_rank"}, 0)) hf.set_uint("attention.q_lora_rank", rank_q);
  hf.set_uint("attention.key_length", rank + n_rot);
  hf.set_uint("attention.value_length", rank);
  hf.set_uint("attention.key_length_mla", hf.config_uint({"qk_nope_head_dim"}) + n_rot);
  hf.set_uint("attention.value_length_mla", hf.config_uint({"v_head_dim"}));
  hf.set_uint("rope.dimension_count", n_rot);
}

// kv_b_proj, of each head the rows that make its key and those that make its value, as llama.cpp has them: [n_head,
// rank, d_plain] and [n_head, d_value, rank].
void import_latents(HfImport& hf, const std::string& from, const std::string& to, size_t n_head) {
  const size_t d_plain = hf.config_uint({"qk_nope_head_dim"}), d_value = hf.config_uint({"v_head_dim"});
  const Tensor both = hf.take(from + ".weight");
  std::vector<Tensor> keys, values;
  for (size_t h = 0; h < n_head; ++h) {
    keys.push_back(hf.turned_part(hf.rows(both, h * (d_plain + d_value), d_plain)));
    values.push_back(hf.rows(both, h * (d_plain + d_value) + d_plain, d_value));
  }
  hf.put(to + "attn_k_b.weight", hf.stacked(keys));
  hf.put(to + "attn_v_b.weight", hf.stacked(values));
}

void import_deepseek(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  import_sizes(hf);
  import_scaling(hf);
  const size_t n_expert = import_sigmoid_router_config(hf);
  hf.set_uint("expert_gating_func", hf.config_string({"scoring_func"}, "softmax") == "sigmoid" ? 2 : 1);
  if (hf.config_string({"topk_method"}, "") == "greedy") {  // of all experts, whatever groups there are
    hf.set_uint("expert_group_count", 1);
    hf.set_uint("expert_group_used_count", 1);
  }
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    const std::string attention = from + "self_attn.";
    hf.move(from + "input_layernorm", to + "attn_norm");
    hf.move_if_present(attention + "q_proj", to + "attn_q");
    hf.move_if_present(attention + "q_a_proj", to + "attn_q_a");
    hf.move_if_present(attention + "q_a_layernorm", to + "attn_q_a_norm");
    hf.move_if_present(attention + "q_b_proj", to + "attn_q_b");
    hf.move(attention + "kv_a_proj_with_mqa", to + "attn_kv_a_mqa");
    hf.move(attention + "kv_a_layernorm", to + "attn_kv_a_norm");
    import_latents(hf, attention + "kv_b_proj", to, sizes.n_head);
    hf.move(attention + "o_proj", to + "attn_output");
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    import_deepseek_mlp(hf, layer, n_expert);
  }
}

}  // namespace

const Architecture kArchDeepSeek2 = {"deepseek2", "deepseek_v2,deepseek_v3", true, deepseek_config, import_deepseek};

}  // namespace hunch
