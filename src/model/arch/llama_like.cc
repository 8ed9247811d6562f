#include "model/arch/llama_like.h"

#include "base/error.h"

namespace hunch {

LlamaLikeSizes import_llama_like_config(HfImport& hf, std::string_view usual_activation, bool windows_unless_said) {
  LlamaLikeSizes s;
  s.n_layer = hf.config_uint({"num_hidden_layers"});
  s.n_embd = hf.config_uint({"hidden_size"});
  s.n_head = hf.config_uint({"num_attention_heads"});
  s.n_kv_head = hf.config_uint({"num_key_value_heads"}, s.n_head);
  s.n_ctx = hf.config_uint({"max_position_embeddings"}, 2048);
  if (s.n_head == 0) fail(ErrorKind::kFormat, "config.json: num_attention_heads is 0");
  s.d_head = hf.config_uint({"head_dim"}, s.n_embd / s.n_head);
  s.n_rot = size_t(double(s.d_head) * hf.config_float({"partial_rotary_factor", "rope_pct"}, 1.0));

  hf.set_uint("block_count", s.n_layer);
  hf.set_uint("context_length", s.n_ctx);
  hf.set_uint("embedding_length", s.n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"intermediate_size", "moe_ffn_hidden_size"}));
  hf.set_uint("attention.head_count", s.n_head);
  hf.set_uint("attention.head_count_kv", s.n_kv_head);
  if (s.d_head * s.n_head != s.n_embd) {
    hf.set_uint("attention.key_length", s.d_head);
    hf.set_uint("attention.value_length", s.d_head);
  }
  if (hf.has_config("rms_norm_eps")) {
    hf.set_float("attention.layer_norm_rms_epsilon", hf.config_float({"rms_norm_eps"}));
  } else {
    hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_eps", "norm_eps", "norm_epsilon"}, 1e-5));
  }
  hf.set_float("rope.freq_base", hf.config_float({"rope_theta"}, 10000.0));
  if (hf.has_config("rope_local_base_freq"))  // of layers with a window
    hf.set_float("rope.freq_base_swa", hf.config_float({"rope_local_base_freq"}));
  hf.set_uint("rope.dimension_count", s.n_rot);
  import_windows(hf, s.n_layer, windows_unless_said);
  hf.ignore_config("hidden_act");  // Gemma's configs have both, and this one is not it
  import_activation(hf, hf.config_string({"hidden_activation", "hidden_act"}, usual_activation), usual_activation);
  import_rope_scaling(hf, s.n_rot, s.n_ctx);
  return s;
}

void import_norm(HfImport& hf, const std::string& from, const std::string& to, const LlamaLikeTensors& options) {
  if (!options.norm_plus_one) return hf.move(from, to);
  hf.put(to + ".weight", hf.plus_one(hf.take(from + ".weight")));
  if (hf.has(from + ".bias")) hf.put(to + ".bias", hf.take(from + ".bias"));
}

void import_llama_like_ends(HfImport& hf, const LlamaLikeTensors& options) {
  hf.choose_prefix({"model.", ""}, "embed_tokens.weight");
  hf.move("embed_tokens", "token_embd");
  if (hf.has("norm.weight")) import_norm(hf, "norm", "output_norm", options);
  if (hf.config_bool({"tie_word_embeddings"}, options.tied_by_default)) {
    hf.ignore("lm_head.weight");
  } else {
    hf.move_if_present("lm_head", "output");
  }
}

void import_llama_like_attention(HfImport& hf, size_t layer, const LlamaLikeSizes& sizes,
                                 const LlamaLikeTensors& options) {
  const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
  if (hf.has(from + "input_layernorm.weight")) import_norm(hf, from + "input_layernorm", to + "attn_norm", options);
  const auto move_rotated = [&](const char* hf_name, const char* gguf_name, size_t heads) {
    for (const char* part : {"weight", "bias"}) {
      const std::string name = fmt::format("{}self_attn.{}.{}", from, hf_name, part);
      if (!hf.has(name) && std::string_view(part) == "bias") continue;
      const Tensor t = hf.take(name);
      hf.put(fmt::format("{}{}.{}", to, gguf_name, part),
             options.interleave_qk ? hf.interleaved_rope_rows(t, heads) : t);
    }
  };
  move_rotated("q_proj", "attn_q", sizes.n_head);
  move_rotated("k_proj", "attn_k", sizes.n_kv_head);
  hf.move(from + "self_attn.v_proj", to + "attn_v");
  hf.move(from + "self_attn.o_proj", to + "attn_output");
  for (const char* name : {"q_norm", "k_norm"})
    if (const std::string norm = from + "self_attn." + name; hf.has(norm + ".weight"))
      import_norm(hf, norm, fmt::format("{}attn_{}", to, name), options);
}

void import_branch_norms(HfImport& hf, size_t layer, const LlamaLikeTensors& options) {
  const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
  import_norm(hf, from + "post_attention_layernorm", to + "post_attention_norm", options);
  import_norm(hf, from + "post_feedforward_layernorm", to + "post_ffw_norm", options);
}

LlamaLikeSizes import_llama_like(HfImport& hf, std::string_view usual_activation, const LlamaLikeTensors& options,
                                 const char* ffn_norm) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, usual_activation);
  import_llama_like_ends(hf, options);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    import_llama_like_attention(hf, layer, sizes, options);
    import_norm(hf, fmt::format("layers.{}.post_attention_layernorm", layer), fmt::format("blk.{}.{}", layer, ffn_norm),
                options);
    import_llama_like_mlp(hf, layer);
  }
  return sizes;
}

bool has_mlp(const HfImport& hf, const std::string& prefix) {
  for (const char* part : {"gate", "up", "down"})
    if (hf.has(fmt::format("{}.{}_proj.weight", prefix, part))) return true;
  return false;
}

void import_llama_like_mlp(HfImport& hf, size_t layer) {
  const std::string from = fmt::format("layers.{}.mlp.", layer), to = fmt::format("blk.{}.", layer);
  hf.move_if_present(from + "gate_proj", to + "ffn_gate");
  hf.move(from + "up_proj", to + "ffn_up");
  hf.move(from + "down_proj", to + "ffn_down");
}

void import_moe_counts(HfImport& hf, size_t n_expert, size_t n_used, size_t n_ff, size_t n_ff_shared) {
  hf.set_uint("expert_count", n_expert);
  hf.set_uint("expert_used_count", n_used);
  hf.set_uint("expert_feed_forward_length", n_ff);
  if (n_ff_shared) hf.set_uint("expert_shared_feed_forward_length", n_ff_shared);
}

size_t import_sigmoid_router_config(HfImport& hf) {
  const size_t n_expert = hf.config_uint({"n_routed_experts"}), n_ff = hf.config_uint({"moe_intermediate_size"});
  import_moe_counts(hf, n_expert, hf.config_uint({"num_experts_per_tok"}), n_ff,
                    n_ff * hf.config_uint({"n_shared_experts"}, 0));
  hf.set_uint("expert_group_count", hf.config_uint({"n_group"}, 1));
  hf.set_uint("expert_group_used_count", hf.config_uint({"topk_group"}, 1));
  hf.set_float("expert_weights_scale", hf.config_float({"routed_scaling_factor"}, 1.0));
  hf.set_bool("expert_weights_norm", hf.config_bool({"norm_topk_prob"}, true));
  hf.ignore_config("moe_layer_freq");  // the tensors say which; llama.cpp wants to be told
  hf.set_uint("leading_dense_block_count", hf.config_uint({"first_k_dense_replace"}, 0));
  hf.set_uint("expert_shared_count", hf.config_uint({"n_shared_experts"}, 0));
  const size_t n_layer = hf.config_uint({"num_hidden_layers"});
  for (size_t i = 0; i < hf.config_uint({"num_nextn_predict_layers"}, 0); ++i)
    for (const char* prefix : {"", "model."}) hf.leave_out(fmt::format("{}layers.{}.", prefix, n_layer + i));
  return n_expert;
}

void import_deepseek_mlp(HfImport& hf, size_t layer, size_t n_expert) {
  const std::string from = fmt::format("layers.{}.mlp.", layer), to = fmt::format("blk.{}.", layer);
  if (has_mlp(hf, fmt::format("layers.{}.mlp", layer))) return import_llama_like_mlp(hf, layer);
  hf.move(from + "gate", to + "ffn_gate_inp");
  if (const std::string bias = from + "gate.e_score_correction_bias"; hf.has(bias))
    hf.put(to + "exp_probs_b.bias", hf.take(bias));
  import_gated_experts(hf, from + "experts", n_expert, to);
  if (has_mlp(hf, from + "shared_experts")) import_shared_expert(hf, from + "shared_experts", to);
}

void import_gated_experts(HfImport& hf, const std::string& prefix, size_t n_expert, const std::string& to) {
  for (const char* part : {"gate", "up", "down"})
    import_experts(hf, prefix, fmt::format("{}_proj", part), n_expert, fmt::format("{}ffn_{}_exps", to, part));
}

void import_shared_expert(HfImport& hf, const std::string& prefix, const std::string& to) {
  for (const char* part : {"gate", "up", "down"})
    hf.move(fmt::format("{}.{}_proj", prefix, part), fmt::format("{}ffn_{}_shexp", to, part));
}

void import_experts(HfImport& hf, const std::string& prefix, std::string_view hf_name, size_t n_expert,
                    const std::string& to) {
  std::vector<Tensor> parts;
  for (size_t e = 0; e < n_expert; ++e) parts.push_back(hf.take(fmt::format("{}.{}.{}.weight", prefix, e, hf_name)));
  hf.put(to + ".weight", hf.stacked(parts));
}

void import_branch_normed(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    import_llama_like_attention(hf, layer, sizes, {});
    import_branch_norms(hf, layer, {});
    import_llama_like_mlp(hf, layer);
  }
}

void import_halves(HfImport& hf, const std::string& from, size_t n, const std::string& gate, const std::string& up) {
  const Tensor both = hf.take(from);
  const auto half = [&](size_t which) -> Tensor {
    if (both.shape.size() < 3) return hf.rows(both, which * n, n);
    const Tensor flat = hf.reshaped(both, {both.shape[0] * both.shape[1], both.shape[2]});
    std::vector<Tensor> experts;
    for (size_t e = 0; e < both.shape[0]; ++e) experts.push_back(hf.rows(flat, (2 * e + which) * n, n));
    return hf.stacked(experts);
  };
  hf.put(gate + ".weight", half(0));
  hf.put(up + ".weight", half(1));
}

}  // namespace hunch
