// GPT-BigCode: StarCoder and SantaCoder (Li et al. 2023). GPT-2's block with ordinary linear layers
// and one key and value head for all queries; with multi_query false, q, k and v of each head lie
// together and are sorted here. An unscaled attention is folded into W_q.
#include <cmath>

#include "base/error.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig starcoder_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.position = PositionKind::kLearned;
  return c;
}

void import_starcoder(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"n_layer", "num_hidden_layers"});
  const size_t n_embd = hf.config_uint({"n_embd", "hidden_size"});
  const size_t n_head = hf.config_uint({"n_head", "num_attention_heads"});
  if (n_head == 0 || n_embd % n_head != 0)
    fail(ErrorKind::kFormat, "config.json: n_embd {} is not a multiple of n_head {}", n_embd, n_head);
  const bool multi_query = hf.config_bool({"multi_query"}, true);
  const size_t n_kv_head = multi_query ? 1 : n_head, d_head = n_embd / n_head;
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"n_positions", "max_position_embeddings"}, 1024));
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"n_inner"}, 4 * n_embd));
  hf.set_uint("attention.head_count", n_head);
  hf.set_uint("attention.head_count_kv", n_kv_head);
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-5));
  import_activation(hf, hf.config_string({"activation_function"}, "gelu_pytorch_tanh"), "gelu_pytorch_tanh");
  const bool scaled = hf.config_bool({"scale_attn_weights"}, true);
  if (!scaled) hf.set_bool("scale_attn_weights", false);  // folded into W_q: adapters of it are, too

  hf.choose_prefix({"transformer.", ""}, "wte.weight");
  hf.move("wte", "token_embd");
  hf.move("wpe", "position_embd");
  hf.move("ln_f", "output_norm");
  import_output(hf, "lm_head", true);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("h.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "ln_1", to + "attn_norm");
    for (const char* part : {"weight", "bias"}) {
      Tensor qkv = hf.take(fmt::format("{}attn.c_attn.{}", from, part));
      if (!multi_query) qkv = hf.degrouped_qkv(qkv, n_head, 1, d_head);
      if (!scaled) qkv = hf.scaled_rows(qkv, n_embd, std::sqrt(float(d_head)));
      hf.put(fmt::format("{}attn_qkv.{}", to, part), qkv);
    }
    hf.move(from + "attn.c_proj", to + "attn_output");
    hf.move(from + "ln_2", to + "ffn_norm");
    hf.move(from + "mlp.c_fc", to + "ffn_up");
    hf.move(from + "mlp.c_proj", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchStarcoder = {"starcoder", "gpt_bigcode", true, starcoder_config, import_starcoder};

}  // namespace hunch
