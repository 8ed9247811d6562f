// Phi-3.5-MoE: layer norms with biases, biases in attention and on the head, two experts chosen by a sparse mixer,
// LongRope with factors of its own for short and long texts.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig phimoe_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.gated = true;
  c.position = PositionKind::kRope;
  c.norm = NormKind::kLayer;  // its config and its files call the epsilon that of an RMS norm
  c.moe.score = RouterScore::kSparseMixer;
  c.moe.renormalise = false;
  c.moe.jitter = float(file.meta.get_float("phimoe.expert_jitter", 0.01));
  return c;
}

void import_phimoe(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  const size_t n_expert = hf.config_uint({"num_local_experts"});
  import_moe_counts(hf, n_expert, hf.config_uint({"num_experts_per_tok"}), hf.config_uint({"intermediate_size"}));
  hf.set_float("expert_jitter", hf.config_float({"router_jitter_noise"}, 0.01));
  hf.ignore_config("lm_head_bias");  // the tensors say so
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move(from + "block_sparse_moe.gate", to + "ffn_gate_inp");
    const std::string experts = from + "block_sparse_moe.experts";
    import_experts(hf, experts, "w1", n_expert, to + "ffn_gate_exps");
    import_experts(hf, experts, "w2", n_expert, to + "ffn_down_exps");
    import_experts(hf, experts, "w3", n_expert, to + "ffn_up_exps");
  }
}

}  // namespace

const Architecture kArchPhiMoe = {"phimoe", "phimoe", true, phimoe_config, import_phimoe};

}  // namespace hunch
