// ERNIE 4.5: Llama with interleaved pairs, in the checkpoint too; its mixtures choose by softmax scores and a bias.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig ernie_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  return c;
}

void import_ernie(HfImport& hf) { import_llama_like(hf, "silu", {}); }

void import_ernie_moe(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  const size_t n_expert = hf.config_uint({"moe_num_experts"}), n_ff = hf.config_uint({"moe_intermediate_size"});
  import_moe_counts(hf, n_expert, hf.config_uint({"moe_k"}), n_ff,
                    n_ff * hf.config_uint({"moe_num_shared_experts"}, 0));
  // The tensors say which layers are mixtures, and whether there is a bias; capacities are of training.
  for (const char* key : {"moe_layer_end_index", "moe_use_aux_free", "moe_capacity", "moe_gate"}) hf.ignore_config(key);
  hf.set_uint("leading_dense_block_count", hf.config_uint({"moe_layer_start_index"}, 0));  // llama.cpp wants to be told
  hf.set_uint("interleave_moe_layer_step", hf.config_uint({"moe_layer_interval"}, 1));
  hf.set_uint("expert_shared_count", hf.config_uint({"moe_num_shared_experts"}, 0));
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    if (has_mlp(hf, from + "mlp")) {
      import_llama_like_mlp(hf, layer);
      continue;
    }
    hf.move(from + "mlp.gate", to + "ffn_gate_inp");
    if (const std::string bias = from + "mlp.moe_statics.e_score_correction_bias"; hf.has(bias))
      hf.put(to + "exp_probs_b.bias", hf.take(bias));
    import_gated_experts(hf, from + "mlp.experts", n_expert, to);
    if (has_mlp(hf, from + "mlp.shared_experts")) import_shared_expert(hf, from + "mlp.shared_experts", to);
  }
}

}  // namespace

const Architecture kArchErnie45Moe = {"ernie4_5-moe", "ernie4_5_moe", true, ernie_config, import_ernie_moe};
const Architecture kArchErnie45 = {"ernie4_5", "ernie4_5", true, ernie_config, import_ernie};

}  // namespace hunch
