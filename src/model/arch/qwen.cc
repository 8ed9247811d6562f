// Qwen2 (biased Q, K and V; tied or not), Qwen3 (normalised query and key heads), and Qwen2-MoE (routed
// experts beside a shared one that a sigmoid gates); Qwen3-MoE (Qwen3 with routed experts and no shared one).
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig common(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  const size_t first = file.meta.get_uint(c.arch + ".attention.sliding_window_first_layer", 0);  // hunch's, before
  for (size_t layer = 0; layer < std::min(first, c.windows.size()); ++layer) c.windows[layer] = 0;
  return c;
}

ModelConfig config_qwen3(const ModelFile& file) {
  ModelConfig c = common(file);
  c.qk_norm = QkNorm::kShared;
  return c;
}

ModelConfig config_moe(const ModelFile& file) {
  ModelConfig c = common(file);
  c.moe.renormalise = file.meta.get_bool("qwen2moe.expert_weights_norm", false);
  return c;
}

ModelConfig config_qwen3_moe(const ModelFile& file) {
  ModelConfig c = config_qwen3(file);
  c.moe.renormalise = file.meta.get_bool("qwen3moe.expert_weights_norm", true);
  return c;
}

LlamaLikeSizes import_shared(HfImport& hf, const LlamaLikeTensors& options) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu", /*windows_unless_said=*/false);
  import_llama_like_ends(hf, options);
  return sizes;
}

void import_dense(HfImport& hf) {
  const LlamaLikeTensors options;
  const LlamaLikeSizes sizes = import_shared(hf, options);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, options);
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    import_llama_like_mlp(hf, layer);
  }
}

void import_moe(HfImport& hf) {
  const LlamaLikeTensors options;
  const LlamaLikeSizes sizes = import_shared(hf, options);
  const size_t n_expert = hf.config_uint({"num_experts"});
  for (const char* key : {"mlp_only_layers", "decoder_sparse_step"}) hf.ignore_config(key);  // the tensors say which
  hf.set_uint("expert_count", n_expert);
  hf.set_uint("expert_used_count", hf.config_uint({"num_experts_per_tok"}));
  hf.set_uint("expert_feed_forward_length", hf.config_uint({"moe_intermediate_size"}));
  const size_t n_shared = hf.config_uint({"shared_expert_intermediate_size"}, 0);
  if (n_shared) hf.set_uint("expert_shared_feed_forward_length", n_shared);
  hf.set_bool("expert_weights_norm", hf.config_bool({"norm_topk_prob"}, false));
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, options);
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    if (has_mlp(hf, from + "mlp")) {  // mlp_only_layers, decoder_sparse_step
      import_llama_like_mlp(hf, layer);
      continue;
    }
    hf.move(from + "mlp.gate", to + "ffn_gate_inp");
    import_gated_experts(hf, from + "mlp.experts", n_expert, to);
    if (!n_shared) continue;
    import_shared_expert(hf, from + "mlp.shared_expert", to);
    const Tensor gate = hf.take(from + "mlp.shared_expert_gate.weight");
    hf.put(to + "ffn_gate_inp_shexp.weight", hf.reshaped(gate, {sizes.n_embd}));
  }
}

}  // namespace

const Architecture kArchQwen2 = {"qwen2", "qwen2", true, common, import_dense};
const Architecture kArchQwen3 = {"qwen3", "qwen3", true, config_qwen3, import_dense};
const Architecture kArchQwen3Moe = {"qwen3moe", "qwen3_moe", true, config_qwen3_moe, import_moe};
const Architecture kArchQwen2Moe = {"qwen2moe", "qwen2_moe", true, config_moe, import_moe};

}  // namespace hunch
