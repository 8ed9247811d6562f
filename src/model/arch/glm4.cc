// GLM-4 (0414): norms on both sides of each branch, half of a head rotated in neighbouring pairs, biased queries, keys
// and values, gate and up in one matrix.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig glm4_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  return c;
}

void import_glm4(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    hf.move(from + "post_self_attn_layernorm", to + "post_attention_norm");
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move(from + "post_mlp_layernorm", to + "post_ffw_norm");
    hf.move(from + "mlp.gate_up_proj", to + "ffn_up");
    hf.move(from + "mlp.down_proj", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchGlm4 = {"glm4", "glm4", true, glm4_config, import_glm4};

}  // namespace hunch
