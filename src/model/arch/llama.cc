// Llama 1 to 3, Mistral (sliding window), Mixtral (experts), and models with Llama's shape: ReluLLaMA
// and ProSparse (hidden_act relu, fatrelu), SparseLM, Bamboo. GGUF llama files keep Q and K rows in the order of
// interleaved RoPE.
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

// Llamas that were made sparse. SparseLM's code computes relu(gate) * up whatever hidden_act says; Bamboo's and
// TurboSparse's has a ReLU on both. (ProSparse and MiniCPM-S say themselves what they do: hidden_act fatrelu.)
void import_sparse_kind(HfImport& hf) {
  const std::string kind = hf.config_string({"model_type"}, "");
  if (kind == "llama_sparse_relu") {
    if (!hf.config_bool({"sparsity_gated_mlp"}, true))
      fail(ErrorKind::kUnsupported, "config.json: llama_sparse_relu with sparsity_gated_mlp false");
    hf.ignore_config("sparsity_l1_coeff");  // of training
    hf.set_string("activation", "relu");
  } else if (kind == "bamboo") {
    hf.set_string("up_activation", "relu");
  }
}

void import_llama(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  import_sparse_kind(hf);
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

const Architecture kArchLlama = {"llama", "llama,mistral,mixtral,sparsellama,llama_sparse_relu,bamboo", true,
                                 llama_config, import_llama};

}  // namespace hunch
