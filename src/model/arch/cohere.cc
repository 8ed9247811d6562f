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
    hf.move_if_present(from + "self_attn.q_norm", to + "attn_q_norm");
    hf.move_if_present(from + "self_attn.k_norm", to + "attn_k_norm");
    import_llama_like_mlp(hf, layer);
  }
}

}  // namespace

const Architecture kArchCohere = {"command-r", "cohere", true, cohere_config, import_cohere};

}  // namespace hunch
