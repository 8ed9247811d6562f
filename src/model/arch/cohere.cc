// Cohere Command-R: one layer norm (no bias) feeds attention and MLP in parallel, interleaved RoPE,
// scaled logits, tied; Command-R+ also normalises every query and key head with its own weights.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig cohere_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.gated = true;
  c.parallel_residual = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  if (file.find("blk.0.attn_q_norm.weight")) c.qk_norm = QkNorm::kPerHead;
  c.qk_norm_kind = NormKind::kLayer;
  return c;
}

void import_cohere(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  hf.set_float("logit_scale", hf.config_float({"logit_scale"}, 0.0625));
  import_llama_like_ends(hf, {.tied_by_default = true});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    import_llama_like_mlp(hf, layer);
  }
}

// Command-R7B: of four layers three have a window, and only these rotate.
ModelConfig cohere2_config(const ModelFile& file) {
  ModelConfig c = cohere_config(file);
  default_windows(file, c, 4);
  rotate_only_windowed_layers(file, c);
  return c;
}

void import_cohere2(HfImport& hf) {
  // All that were published say these; how windows alternate is said by layer_types or sliding_window_pattern.
  for (const char* key :
       {"use_parallel_block", "use_gated_activation", "use_parallel_embedding", "use_embedding_sharing",
        "position_embedding_type", "rotary_pct", "layer_switch", "order_of_interleaved_layers"})
    hf.ignore_config(key);
  import_cohere(hf);
}

}  // namespace

const Architecture kArchCohere2 = {"cohere2", "cohere2", true, cohere2_config, import_cohere2};
const Architecture kArchCohere = {"command-r", "cohere", true, cohere_config, import_cohere};

}  // namespace hunch
