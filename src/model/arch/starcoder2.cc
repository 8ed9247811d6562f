// StarCoder2: layer norms, biases everywhere, GELU without a gate, grouped queries, sliding window, tied.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig starcoder2_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.position = PositionKind::kRope;
  return c;
}

void import_starcoder2(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "gelu_pytorch_tanh");
  import_llama_like_ends(hf, {.tied_by_default = true});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move(from + "mlp.c_fc", to + "ffn_up");
    hf.move(from + "mlp.c_proj", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchStarCoder2 = {"starcoder2", "starcoder2", true, starcoder2_config, import_starcoder2};

}  // namespace hunch
