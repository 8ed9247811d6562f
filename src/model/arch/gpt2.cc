// GPT-2 (Radford et al. 2019) and models of its shape: DistilGPT2, DialoGPT, Cerebras-GPT (exact GELU,
// own n_inner), Mistral's reproductions. HF keeps its products as Conv1D, [in, out]: they are turned
// here. Variants: names with or without "transformer.", a head that is tied or its own, attention
// that is unscaled or scaled once more by 1 / (layer + 1), which is folded into W_q.
#include <cmath>

#include "base/error.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig gpt2_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.position = PositionKind::kLearned;
  return c;
}

void import_gpt2(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"n_layer", "num_hidden_layers"}, 12);
  const size_t n_embd = hf.config_uint({"n_embd", "hidden_size"}, 768);
  const size_t n_head = hf.config_uint({"n_head", "num_attention_heads"}, 12);
  if (n_head == 0) fail(ErrorKind::kFormat, "config.json: n_head is 0");
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"n_positions", "n_ctx", "max_position_embeddings"}, 1024));
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"n_inner"}, 4 * n_embd));
  hf.set_uint("attention.head_count", n_head);
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-5));
  import_activation(hf, hf.config_string({"activation_function"}, "gelu_new"), "gelu_new");
  const bool by_layer = hf.config_bool({"scale_attn_by_inverse_layer_idx"}, false);
  if (by_layer) hf.set_bool("scale_attn_by_inverse_layer_idx", true);  // folded into W_q: adapters of it are, too
  if (!hf.config_bool({"scale_attn_weights"}, true)) hf.set_bool("scale_attn_weights", false);
  const size_t d_head = n_embd / n_head;
  const double q_scale = hf.config_bool({"scale_attn_weights"}, true) ? 1.0 : std::sqrt(double(d_head));

  hf.choose_prefix({"transformer.", ""}, "wte.weight");
  hf.move("wte", "token_embd");
  hf.move("wpe", "position_embd");
  hf.move("ln_f", "output_norm");
  import_output(hf, "lm_head", true);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("h.{}.", layer), to = fmt::format("blk.{}.", layer);
    const auto move_turned = [&](const std::string& hf_name, const std::string& gguf_name) {
      hf.put(gguf_name + ".weight", hf.transposed(hf.take(hf_name + ".weight")));
      hf.put(gguf_name + ".bias", hf.take(hf_name + ".bias"));
    };
    hf.move(from + "ln_1", to + "attn_norm");
    const double factor = by_layer ? q_scale / double(layer + 1) : q_scale;
    if (factor == 1.0) {
      move_turned(from + "attn.c_attn", to + "attn_qkv");
    } else {
      const Tensor qkv = hf.transposed(hf.take(from + "attn.c_attn.weight"));
      hf.put(to + "attn_qkv.weight", hf.scaled_rows(qkv, n_embd, float(factor)));
      hf.put(to + "attn_qkv.bias", hf.scaled_rows(hf.take(from + "attn.c_attn.bias"), n_embd, float(factor)));
    }
    move_turned(from + "attn.c_proj", to + "attn_output");
    hf.move(from + "ln_2", to + "ffn_norm");
    move_turned(from + "mlp.c_fc", to + "ffn_up");
    move_turned(from + "mlp.c_proj", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchGpt2 = {"gpt2", "gpt2", true, gpt2_config, import_gpt2};

}  // namespace hunch
