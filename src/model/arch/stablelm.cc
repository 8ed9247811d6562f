// StableLM: partial rotary, layer norms, optional biases, optional parallel residual and a norm per head.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig stablelm_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.gated = true;
  c.position = PositionKind::kRope;
  c.parallel_residual = file.meta.get_bool("stablelm.use_parallel_residual", false);
  if (file.find("blk.0.attn_q_norm.weight")) c.qk_norm = QkNorm::kPerHead;
  c.qk_norm_kind = NormKind::kLayer;
  return c;
}

void import_stablelm(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  hf.set_bool("use_parallel_residual", hf.config_bool({"use_parallel_residual"}, false));
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    for (const auto& [hf_name, gguf_name, heads] :
         {std::tuple{"q_layernorm", "attn_q_norm", sizes.n_head}, {"k_layernorm", "attn_k_norm", sizes.n_kv_head}}) {
      const std::string norms = fmt::format("{}self_attn.{}.norms.", from, hf_name);
      if (!hf.has(norms + "0.weight")) continue;
      std::vector<Tensor> parts;
      for (size_t h = 0; h < heads; ++h) parts.push_back(hf.take(fmt::format("{}{}.weight", norms, h)));
      hf.put(fmt::format("{}{}.weight", to, gguf_name), hf.stacked(parts));
    }
    hf.move_if_present(from + "post_attention_layernorm", to + "ffn_norm");
    import_llama_like_mlp(hf, layer);
  }
}

}  // namespace

const Architecture kArchStableLm = {"stablelm", "stablelm", true, stablelm_config, import_stablelm};

}  // namespace hunch
