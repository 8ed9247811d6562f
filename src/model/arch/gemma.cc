// Gemma (norms stored as w and meant as 1 + w, embeddings scaled by sqrt(n_embd), its own head width)
// Gemma-2 (norms on both sides of each branch, soft caps, every other layer with a window), and Gemma-3.
#include <cmath>

#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

constexpr LlamaLikeTensors kTensors{.norm_plus_one = true, .tied_by_default = true};

ModelConfig config_gemma(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.embedding_scale = float(std::sqrt(double(c.n_embd)));
  return c;
}

ModelConfig config_gemma2(const ModelFile& file) {
  ModelConfig c = config_gemma(file);
  if (c.windows.empty()) c.windows.assign(c.n_layer, 4096);  // early files have no key for it
  for (size_t layer = 1; layer < c.windows.size(); layer += 2) c.windows[layer] = 0;
  // The file of Gemma-2 27B has no key for its scale, 1 / sqrt(n_embd / n_head); the others use d_head.
  if (!file.meta.has("gemma2.attention.scale") && c.n_layer == 46)
    c.attn_scale = float(std::sqrt(double(c.n_head) / double(c.n_embd)));
  return c;
}

// Normalised queries and keys; of six layers five have a window, and a rope of their own.
ModelConfig config_gemma3(const ModelFile& file) {
  ModelConfig c = config_gemma(file);
  c.qk_norm = QkNorm::kShared;
  default_windows(file, c, 6);
  if (!c.windows.empty() && !file.meta.has("gemma3.rope.freq_base_swa")) rotate_windowed_layers(c, 10000.0);
  if (!file.meta.has("gemma3.attention.scale") && c.n_layer == 62)  // 27B, as Gemma-2's
    c.attn_scale = float(std::sqrt(double(c.n_head) / double(c.n_embd)));
  return c;
}

void import_gemma(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "gelu_pytorch_tanh");
  import_llama_like_ends(hf, kTensors);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    import_llama_like_attention(hf, layer, sizes, kTensors);
    import_norm(hf, fmt::format("layers.{}.post_attention_layernorm", layer), fmt::format("blk.{}.ffn_norm", layer),
                kTensors);
    import_llama_like_mlp(hf, layer);
  }
}

void import_gemma2(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "gelu_pytorch_tanh");
  if (hf.has_config("attn_logit_softcapping"))
    hf.set_float("attn_logit_softcapping", hf.config_float({"attn_logit_softcapping"}));
  if (hf.has_config("final_logit_softcapping"))
    hf.set_float("final_logit_softcapping", hf.config_float({"final_logit_softcapping"}));
  hf.set_float("attention.scale", 1 / std::sqrt(hf.config_float({"query_pre_attn_scalar"}, double(sizes.d_head))));
  import_llama_like_ends(hf, kTensors);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, kTensors);
    import_norm(hf, from + "post_attention_layernorm", to + "post_attention_norm", kTensors);
    import_norm(hf, from + "pre_feedforward_layernorm", to + "ffn_norm", kTensors);
    import_norm(hf, from + "post_feedforward_layernorm", to + "post_ffw_norm", kTensors);
    import_llama_like_mlp(hf, layer);
  }
}

}  // namespace

const Architecture kArchGemma = {"gemma", "gemma", true, config_gemma, import_gemma};
const Architecture kArchGemma3 = {"gemma3", "gemma3_text,gemma3", true, config_gemma3, import_gemma2};
const Architecture kArchGemma2 = {"gemma2", "gemma2", true, config_gemma2, import_gemma2};

}  // namespace hunch
