// Llama 1 to 3, Mistral (sliding window), Mixtral (experts), and models with Llama's shape: ReluLLaMA
// and ProSparse (hidden_act relu). GGUF llama files keep Q and K rows in the order of interleaved RoPE.
#include "model/architecture.h"

#include "base/error.h"

namespace hunch {
namespace {

ModelConfig config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file);
  if (!file.meta.has("llama.activation")) c.activation = Activation::kSilu;
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  c.moe.renormalise = true;
  return c;
}

// Mixtral's experts w1 (gate), w2 (down), w3 (up), each stacked into one tensor.
void import_experts(HfImport& hf, const std::string& from, const std::string& to, size_t n_expert) {
  hf.move(from + "block_sparse_moe.gate", to + "ffn_gate_inp");
  for (const auto& [hf_name, gguf_name] : {std::pair{"w1", "ffn_gate_exps"}, {"w2", "ffn_down_exps"}, {"w3", "ffn_up_exps"}}) {
    std::vector<Tensor> parts;
    for (size_t e = 0; e < n_expert; ++e) parts.push_back(hf.take(fmt::format("{}block_sparse_moe.experts.{}.{}.weight", from, e, hf_name)));
    hf.put(fmt::format("{}{}.weight", to, gguf_name), hf.stacked(parts));
  }
}

void import(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"num_hidden_layers"}), n_embd = hf.config_uint({"hidden_size"});
  const size_t n_head = hf.config_uint({"num_attention_heads"}), n_kv_head = hf.config_uint({"num_key_value_heads"}, n_head);
  if (n_head == 0) fail(ErrorKind::kFormat, "config.json: num_attention_heads is 0");
  const size_t d_head = hf.config_uint({"head_dim"}, n_embd / n_head);
  const size_t n_ctx = hf.config_uint({"max_position_embeddings"}, 2048);
  const size_t n_expert = hf.config_uint({"num_local_experts"}, 0);
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", n_ctx);
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"intermediate_size"}));
  hf.set_uint("attention.head_count", n_head);
  hf.set_uint("attention.head_count_kv", n_kv_head);
  if (d_head * n_head != n_embd) {
    hf.set_uint("attention.key_length", d_head);
    hf.set_uint("attention.value_length", d_head);
  }
  hf.set_float("attention.layer_norm_rms_epsilon", hf.config_float({"rms_norm_eps"}, 1e-6));
  hf.set_float("rope.freq_base", hf.config_float({"rope_theta"}, 10000.0));
  hf.set_uint("rope.dimension_count", d_head);
  if (hf.config_uint({"sliding_window"}, 0)) hf.set_uint("attention.sliding_window", hf.config_uint({"sliding_window"}));
  if (n_expert) {
    hf.set_uint("expert_count", n_expert);
    hf.set_uint("expert_used_count", hf.config_uint({"num_experts_per_tok"}));
  }
  import_activation(hf, hf.config_string({"hidden_act"}, "silu"), "silu");
  import_rope_scaling(hf, d_head, n_ctx);

  hf.choose_prefix({"model.", ""}, "embed_tokens.weight");
  hf.move("embed_tokens", "token_embd");
  hf.move("norm", "output_norm");
  if (hf.config_bool({"tie_word_embeddings"}, false)) {
    hf.ignore("lm_head.weight");
  } else {
    hf.move_if_present("lm_head", "output");
  }
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "input_layernorm", to + "attn_norm");
    const auto move_rotated = [&](const char* hf_name, const char* gguf_name, size_t heads) {
      for (const char* part : {"weight", "bias"}) {
        const std::string name = fmt::format("{}self_attn.{}.{}", from, hf_name, part);
        if (hf.has(name)) hf.put(fmt::format("{}{}.{}", to, gguf_name, part), hf.interleaved_rope_rows(hf.take(name), heads));
      }
    };
    move_rotated("q_proj", "attn_q", n_head);
    move_rotated("k_proj", "attn_k", n_kv_head);
    hf.move(from + "self_attn.v_proj", to + "attn_v");
    hf.move(from + "self_attn.o_proj", to + "attn_output");
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    if (n_expert) {
      import_experts(hf, from, to, n_expert);
    } else {
      hf.move(from + "mlp.gate_proj", to + "ffn_gate");
      hf.move(from + "mlp.up_proj", to + "ffn_up");
      hf.move(from + "mlp.down_proj", to + "ffn_down");
    }
  }
}

}  // namespace

const Architecture kArchLlama = {"llama", "llama,mistral,mixtral", true, config, import};

}  // namespace hunch
