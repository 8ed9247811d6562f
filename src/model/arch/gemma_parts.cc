#include "model/arch/gemma_parts.h"

#include <cmath>

#include "base/error.h"

namespace hunch {

ModelConfig gemma_config_with_value_norms(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.embedding_scale = float(std::sqrt(double(c.n_embd)));
  c.attn_scale = 1.0f;
  c.qk_norm = QkNorm::kShared;
  c.value_norm = true;
  return c;
}

LlamaLikeSizes import_gemma_counts(HfImport& hf) {
  LlamaLikeSizes s;
  s.n_layer = hf.config_uint({"num_hidden_layers"});
  s.n_embd = hf.config_uint({"hidden_size"});
  s.n_head = hf.config_uint({"num_attention_heads"});
  s.n_kv_head = hf.config_uint({"num_key_value_heads"}, s.n_head);
  s.n_ctx = hf.config_uint({"max_position_embeddings"}, 2048);
  s.d_head = hf.config_uint({"head_dim"}, 256);
  hf.set_uint("block_count", s.n_layer);
  hf.set_uint("context_length", s.n_ctx);
  hf.set_uint("embedding_length", s.n_embd);
  hf.set_uint("attention.head_count", s.n_head);
  hf.set_float("attention.layer_norm_rms_epsilon", hf.config_float({"rms_norm_eps"}, 1e-6));
  import_windows(hf, s.n_layer, true);
  import_activation(hf, hf.config_string({"hidden_activation"}, "gelu_pytorch_tanh"), "gelu_pytorch_tanh");
  if (hf.has_config("final_logit_softcapping"))
    hf.set_float("final_logit_softcapping", hf.config_float({"final_logit_softcapping"}));
  const size_t n_borrowing = hf.config_uint({"num_kv_shared_layers"}, 0);
  if (n_borrowing >= s.n_layer)
    fail(ErrorKind::kFormat, "config.json: num_kv_shared_layers is {}, expected fewer than {} layers", n_borrowing,
         s.n_layer);
  hf.set_uint("attention.shared_kv_layers", n_borrowing);
  hf.set_uint("embedding_length_per_layer_input", hf.config_uint({"hidden_size_per_layer_input"}, 0));
  hf.ignore_config("vocab_size_per_layer_input");  // the tensor says it
  if (hf.config_string({"use_bidirectional_attention"}, "") == "all")
    fail(ErrorKind::kUnsupported,
         "config.json: use_bidirectional_attention is 'all': hunch's tokens see what came before");
  return s;
}

void import_gemma_ends(HfImport& hf) {
  import_llama_like_ends(hf, {.tied_by_default = true});
  if (hf.config_uint({"hidden_size_per_layer_input"}, 0) == 0) return;
  hf.move("embed_tokens_per_layer", "per_layer_token_embd");
  hf.move("per_layer_model_projection", "per_layer_model_proj");
  hf.move("per_layer_projection_norm", "per_layer_proj_norm");
}

void import_gemma_layer(HfImport& hf, size_t layer, const LlamaLikeSizes& sizes) {
  const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
  const std::string attention = from + "self_attn.";
  hf.move(from + "input_layernorm", to + "attn_norm");
  hf.move(attention + "q_proj", to + "attn_q");
  hf.move(attention + "q_norm", to + "attn_q_norm");
  hf.move(attention + "o_proj", to + "attn_output");
  if (layer + hf.config_uint({"num_kv_shared_layers"}, 0) < sizes.n_layer) {
    hf.move(attention + "k_proj", to + "attn_k");
    hf.move(attention + "k_norm", to + "attn_k_norm");
    hf.move_if_present(attention + "v_proj", to + "attn_v");
  } else {  // checkpoints may have them, and no one reads them
    for (const char* name : {"k_proj", "v_proj", "k_norm"}) hf.ignore(attention + name + ".weight");
  }
  hf.move(from + "post_attention_layernorm", to + "post_attention_norm");
  hf.move(from + "pre_feedforward_layernorm", to + "ffn_norm");
  hf.move(from + "post_feedforward_layernorm", to + "post_ffw_norm");
  import_llama_like_mlp(hf, layer);
  if (hf.config_uint({"hidden_size_per_layer_input"}, 0) == 0) return;
  hf.move(from + "per_layer_input_gate", to + "inp_gate");
  hf.move(from + "per_layer_projection", to + "proj");
  hf.move(from + "post_per_layer_input_norm", to + "post_norm");
}

}  // namespace hunch
