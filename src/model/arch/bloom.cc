// BLOOM and BLOOMZ (Le Scao et al. 2022): ALiBi added to the scaled scores, a norm on the embedding,
// q, k and v stored head by head (sorted here), tied head. Configs name sizes in GPT-2's words or in
// BLOOM's (n_embed / hidden_size, n_head / num_attention_heads); names with or without "transformer.".
#include "base/error.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig bloom_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.position = PositionKind::kAlibi;
  return c;
}

void import_bloom(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"n_layer", "num_hidden_layers"});
  const size_t n_embd = hf.config_uint({"n_embed", "hidden_size"});
  const size_t n_head = hf.config_uint({"n_head", "num_attention_heads"});
  if (n_head == 0 || n_embd % n_head != 0)
    fail(ErrorKind::kFormat, "config.json: hidden_size {} is not a multiple of n_head {}", n_embd, n_head);
  if (hf.config_bool({"apply_residual_connection_post_layernorm"}, false))
    fail(ErrorKind::kUnsupported,
         "config.json: apply_residual_connection_post_layernorm is true; hunch adds the branches to the stream before "
         "its norm");
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"seq_length"}, 2048));  // ALiBi itself has no limit
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", 4 * n_embd);
  hf.set_uint("attention.head_count", n_head);
  hf.set_uint("attention.head_count_kv", n_head);
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-5));

  hf.choose_prefix({"transformer.", ""}, "word_embeddings.weight");
  hf.move("word_embeddings", "token_embd");
  hf.move("word_embeddings_layernorm", "token_embd_norm");
  hf.move("ln_f", "output_norm");
  import_output(hf, "lm_head", true);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("h.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "input_layernorm", to + "attn_norm");
    hf.move_degrouped(from + "self_attention.query_key_value", to + "attn_qkv", n_head, 1, n_embd / n_head);
    hf.move(from + "self_attention.dense", to + "attn_output");
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move(from + "mlp.dense_h_to_4h", to + "ffn_up");
    hf.move(from + "mlp.dense_4h_to_h", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchBloom = {"bloom", "bloom", true, bloom_config, import_bloom};

}  // namespace hunch
