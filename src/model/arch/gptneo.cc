// GPT-Neo (Black et al. 2021) and TinyStories: GPT-2 without biases on q, k and v, unscaled attention,
// and layers whose attention alternates between all tokens and a window that includes the query.
// llama.cpp does not know it; names and keys follow its conventions, with the layers that have a
// window marked in gptneo.attention.sliding_window_pattern.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig gptneo_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.position = PositionKind::kLearned;
  c.attn_scale = float(file.meta.get_float("gptneo.attention.scale", 1.0));
  return c;
}

bool is_local(const nlohmann::ordered_json& kind) {
  if (kind == "local") return true;
  if (kind == "global") return false;
  fail(ErrorKind::kUnsupported, "config.json: attention kind {}; expected \"global\" or \"local\"", kind.dump());
}

// One entry per layer: attention_layers as it is, or attention_types [[["global", "local"], 12]] unrolled.
std::vector<bool> local_layers(const HfImport& hf, size_t n_layer) {
  std::vector<bool> local;
  if (hf.has_config("attention_layers") && hf.config()["attention_layers"].is_array()) {
    for (const auto& kind : hf.config()["attention_layers"]) local.push_back(is_local(kind));
  } else if (hf.has_config("attention_types")) {
    for (const auto& group : hf.config()["attention_types"]) {
      if (!group.is_array() || group.size() != 2 || !group[0].is_array() || group[0].empty() ||
          !group[1].is_number_unsigned())
        fail(ErrorKind::kFormat, "config.json: attention_types holds {}, expected [[kinds], times]", group.dump());
      for (size_t i = 0; i < group[1] && local.size() < n_layer; ++i)
        for (const auto& kind : group[0]) local.push_back(is_local(kind));
    }
  } else {
    for (size_t layer = 0; layer < n_layer; ++layer) local.push_back(layer % 2 == 1);
  }
  if (local.size() != n_layer)
    fail(ErrorKind::kFormat, "config.json: attention kinds for {} layers, the model has {}", local.size(), n_layer);
  return local;
}

void import_gptneo(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"num_layers", "num_hidden_layers"});
  const size_t n_embd = hf.config_uint({"hidden_size"});
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"max_position_embeddings"}, 2048));
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"intermediate_size"}, 4 * n_embd));
  hf.set_uint("attention.head_count", hf.config_uint({"num_heads", "num_attention_heads"}));
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-5));
  hf.set_float("attention.scale", 1.0);
  const std::vector<bool> local = local_layers(hf, n_layer);
  if (std::find(local.begin(), local.end(), true) != local.end()) {
    hf.set_uint("attention.sliding_window", hf.config_uint({"window_size"}, 256));
    hf.set_bools("attention.sliding_window_pattern", local);
  }
  import_activation(hf, hf.config_string({"activation_function"}, "gelu_new"), "gelu_new");

  hf.choose_prefix({"transformer.", ""}, "wte.weight");
  hf.move("wte", "token_embd");
  hf.move("wpe", "position_embd");
  hf.move("ln_f", "output_norm");
  import_output(hf, "lm_head", true);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("h.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "ln_1", to + "attn_norm");
    hf.move(from + "attn.attention.q_proj", to + "attn_q");
    hf.move(from + "attn.attention.k_proj", to + "attn_k");
    hf.move(from + "attn.attention.v_proj", to + "attn_v");
    hf.move(from + "attn.attention.out_proj", to + "attn_output");
    hf.move(from + "ln_2", to + "ffn_norm");
    hf.move(from + "mlp.c_fc", to + "ffn_up");
    hf.move(from + "mlp.c_proj", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchGptNeo = {"gptneo", "gpt_neo", false, gptneo_config, import_gptneo};

}  // namespace hunch
