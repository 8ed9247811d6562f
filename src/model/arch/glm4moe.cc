// GLM-4.5: Llama with biased queries, keys and values, optionally normalised heads, half of a head rotated; behind some
// dense layers mixtures that choose by sigmoid scores and a bias, with a shared expert.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig glm4moe_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  if (file.find("blk.0.attn_q_norm.weight")) c.qk_norm = QkNorm::kShared;
  c.moe.score = RouterScore::kSigmoid;
  c.moe.group_best = 2;
  return c;
}

void import_glm4moe(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  const size_t n_expert = import_sigmoid_router_config(hf);
  hf.set_uint("expert_gating_func", 2);
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    hf.move(from + "post_attention_layernorm", to + "post_attention_norm");
    import_deepseek_mlp(hf, layer, n_expert);
  }
}

}  // namespace

const Architecture kArchGlm4Moe = {"glm4moe", "glm4_moe", true, glm4moe_config, import_glm4moe};

}  // namespace hunch
