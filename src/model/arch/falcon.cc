// Falcon (Almazrouei et al. 2023). 7B: one norm, attention and MLP in parallel, one key and value head.
// 40B and 180B ("new decoder"): grouped heads, a norm each for attention and MLP; 11B: grouped heads
// behind one norm. RW-1B and RW-7B: ALiBi scaled together with the scores, biases, one branch after the
// other; llama.cpp does not run these, falcon.attention.max_alibi_bias marks them. Also the configs
// of before Falcon entered transformers (model_type RefinedWeb, RefinedWebModel).
#include "base/error.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig falcon_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluErf);
  c.position = PositionKind::kRope;
  if (file.meta.get_float("falcon.attention.max_alibi_bias", 0.0) > 0) {
    c.position = PositionKind::kAlibi;
    c.alibi_scale = c.attn_scale;
  }
  c.parallel_residual = file.find("blk.0.ffn_norm.weight") == nullptr;
  return c;
}

void import_falcon(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"num_hidden_layers", "n_layer"});
  const size_t n_embd = hf.config_uint({"hidden_size", "n_embed"});
  const size_t n_head = hf.config_uint({"num_attention_heads", "n_head"});
  const bool new_decoder =
      hf.config_bool({"new_decoder_architecture"}, hf.config_string({"model_type"}, "") == "RefinedWeb");
  const bool multi_query = hf.config_bool({"multi_query"}, true);
  const bool parallel = hf.config_bool({"parallel_attn"}, true) || new_decoder;
  size_t n_kv_head = hf.config_uint({"num_kv_heads", "n_head_kv"}, n_head);
  if (!new_decoder) n_kv_head = multi_query ? 1 : n_head;
  if (n_head == 0 || n_kv_head == 0 || n_head % n_kv_head != 0 || n_embd % n_head != 0)
    fail(ErrorKind::kFormat, "config.json: hidden_size {}, {} heads and {} key and value heads do not divide", n_embd,
         n_head, n_kv_head);
  const size_t d_head = n_embd / n_head, n_ctx = hf.config_uint({"max_position_embeddings"}, 2048);
  hf.set_string("tensor_data_layout", "jploski");  // llama.cpp's name for q, k and v sorted out of their groups
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", n_ctx);
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"ffn_hidden_size"}, 4 * n_embd));
  hf.set_uint("attention.head_count", n_head);
  hf.set_uint("attention.head_count_kv", n_kv_head);
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-5));
  if (hf.config_bool({"alibi"}, false)) {
    hf.set_float("attention.max_alibi_bias", 8.0);
  } else {
    hf.set_float("rope.freq_base", hf.config_float({"rope_theta", "rope_parameters.rope_theta"}, 10000.0));
    import_rope_scaling(hf, d_head, n_ctx);
  }
  import_activation(hf, hf.config_string({"activation"}, "gelu"), "gelu");

  hf.choose_prefix({"transformer.", ""}, "word_embeddings.weight");
  hf.move("word_embeddings", "token_embd");
  hf.move("ln_f", "output_norm");
  import_output(hf, "lm_head", true);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("h.{}.", layer), to = fmt::format("blk.{}.", layer);
    if (new_decoder && hf.has(from + "ln_attn.weight")) {
      hf.move(from + "ln_attn", to + "attn_norm_2");
      hf.move(from + "ln_mlp", to + "attn_norm");
    } else {
      hf.move(from + "input_layernorm", to + "attn_norm");
    }
    if (!parallel) hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move_degrouped(from + "self_attention.query_key_value", to + "attn_qkv", n_kv_head, n_head / n_kv_head, d_head);
    hf.move(from + "self_attention.dense", to + "attn_output");
    hf.move(from + "mlp.dense_h_to_4h", to + "ffn_up");
    hf.move(from + "mlp.dense_4h_to_h", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchFalcon = {"falcon", "falcon,RefinedWeb,RefinedWebModel", true, falcon_config, import_falcon};

}  // namespace hunch
