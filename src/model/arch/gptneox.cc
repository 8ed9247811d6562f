// GPT-NeoX (Black et al. 2022), Pythia, Dolly, RedPajama-INCITE, StableLM-alpha: rotary positions on a
// part of each head, attention and MLP in parallel (each with its own norm) or one after the other,
// q, k and v stored head by head (sorted here). Variants: no attention biases, tied head, rope scaling.
#include "base/error.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig gptneox_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluErf);
  c.position = PositionKind::kRope;
  c.parallel_residual = file.meta.get_bool("gptneox.use_parallel_residual", true);
  return c;
}

void import_gptneox(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"num_hidden_layers"}), n_embd = hf.config_uint({"hidden_size"});
  const size_t n_head = hf.config_uint({"num_attention_heads"});
  if (n_head == 0 || n_embd % n_head != 0)
    fail(ErrorKind::kFormat, "config.json: hidden_size {} is not a multiple of num_attention_heads {}", n_embd, n_head);
  const size_t d_head = n_embd / n_head, n_ctx = hf.config_uint({"max_position_embeddings"}, 2048);
  const double rotary_share = hf.config_float({"rotary_pct", "partial_rotary_factor"}, 0.25);
  if (!(rotary_share > 0 && rotary_share <= 1))
    fail(ErrorKind::kFormat, "config.json: rotary_pct is {}, expected more than 0 and at most 1", rotary_share);
  const size_t n_rot = size_t(double(d_head) * rotary_share);
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", n_ctx);
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"intermediate_size"}, 4 * n_embd));
  hf.set_uint("attention.head_count", n_head);
  hf.set_uint("rope.dimension_count", n_rot);
  hf.set_float("rope.freq_base", hf.config_float({"rotary_emb_base", "rope_theta"}, 10000.0));
  hf.set_bool("use_parallel_residual", hf.config_bool({"use_parallel_residual"}, true));
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_eps"}, 1e-5));
  import_activation(hf, hf.config_string({"hidden_act"}, "gelu"), "gelu");
  import_rope_scaling(hf, n_rot, n_ctx);

  hf.choose_prefix({"gpt_neox.", ""}, "embed_in.weight");
  hf.move("embed_in", "token_embd");
  hf.move("final_layer_norm", "output_norm");
  import_output(hf, "embed_out", false);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "input_layernorm", to + "attn_norm");
    hf.move_degrouped(from + "attention.query_key_value", to + "attn_qkv", n_head, 1, d_head);
    hf.move(from + "attention.dense", to + "attn_output");
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move(from + "mlp.dense_h_to_4h", to + "ffn_up");
    hf.move(from + "mlp.dense_4h_to_h", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchGptNeoX = {"gptneox", "gpt_neox", true, gptneox_config, import_gptneox};

}  // namespace hunch
