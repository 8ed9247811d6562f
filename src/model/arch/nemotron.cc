// Nemotron and Minitron: squared ReLU without a gate (exact zeros, as OPT has them), layer norms stored as
// w and meant as 1 + w, partial rotary.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

constexpr LlamaLikeTensors kTensors{.norm_plus_one = true};

ModelConfig nemotron_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kReluSquared);
  c.position = PositionKind::kRope;
  return c;
}

void import_nemotron(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "relu2");
  import_llama_like_ends(hf, kTensors);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    import_llama_like_attention(hf, layer, sizes, kTensors);
    import_norm(hf, fmt::format("layers.{}.post_attention_layernorm", layer), fmt::format("blk.{}.ffn_norm", layer),
                kTensors);
    import_llama_like_mlp(hf, layer);
  }
}

}  // namespace

const Architecture kArchNemotron = {"nemotron", "nemotron", true, nemotron_config, import_nemotron};

}  // namespace hunch
