// Phi-1, Phi-1.5, Phi-2 (parallel residual, partial rotary, biases everywhere, a bias on the head), and
// Phi-3 (fused QKV and gate-up, LongRope, sliding window).
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig config_phi2(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.position = PositionKind::kRope;
  c.parallel_residual = true;
  return c;
}

void import_phi2(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "gelu_new");
  if (hf.config_bool({"qk_layernorm"}, false)) fail(ErrorKind::kUnsupported, "config.json: phi with qk_layernorm");
  import_llama_like_ends(hf, {});
  hf.move("final_layernorm", "output_norm");
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "input_layernorm", to + "attn_norm");
    hf.move(from + "self_attn.q_proj", to + "attn_q");
    hf.move(from + "self_attn.k_proj", to + "attn_k");
    hf.move(from + "self_attn.v_proj", to + "attn_v");
    hf.move(from + "self_attn.dense", to + "attn_output");
    hf.move(from + "mlp.fc1", to + "ffn_up");
    hf.move(from + "mlp.fc2", to + "ffn_down");
  }
}

ModelConfig config_phi3(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  return c;
}

void import_phi3(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "input_layernorm", to + "attn_norm");
    hf.move(from + "self_attn.qkv_proj", to + "attn_qkv");
    hf.move(from + "self_attn.o_proj", to + "attn_output");
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move(from + "mlp.gate_up_proj", to + "ffn_up");
    hf.move(from + "mlp.down_proj", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchPhi2 = {"phi2", "phi", true, config_phi2, import_phi2};
const Architecture kArchPhi3 = {"phi3", "phi3", true, config_phi3, import_phi3};

}  // namespace hunch
