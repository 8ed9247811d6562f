// Llama 1 to 3, Mistral (sliding window), Mixtral (experts), and models with Llama's shape: ReluLLaMA
// and ProSparse (hidden_act relu). GGUF llama files keep Q and K rows in the order of interleaved RoPE.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig llama_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  c.moe.renormalise = file.meta.get_bool("llama.expert_weights_norm", true);
  return c;
}

void import_llama(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  const LlamaLikeTensors options{.interleave_qk = true};
  const size_t n_expert = hf.config_uint({"num_local_experts"}, 0);
  if (n_expert) {
    hf.set_uint("expert_count", n_expert);
    hf.set_uint("expert_used_count", hf.config_uint({"num_experts_per_tok"}));
  }
  import_llama_like_ends(hf, options);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, options);
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    if (!n_expert) {
      import_llama_like_mlp(hf, layer);
      continue;
    }
    hf.move(from + "block_sparse_moe.gate", to + "ffn_gate_inp");
    const std::string experts = from + "block_sparse_moe.experts";
    import_experts(hf, experts, "w1", n_expert, to + "ffn_gate_exps");
    import_experts(hf, experts, "w2", n_expert, to + "ffn_down_exps");
    import_experts(hf, experts, "w3", n_expert, to + "ffn_up_exps");
  }
}

}  // namespace

const Architecture kArchLlama = {"llama", "llama,mistral,mixtral", true, llama_config, import_llama};

}  // namespace hunch
