// SmolLM 3: Llama with layers that do not rotate, every fourth where a file does not say which.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig smollm3_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  if (!file.meta.has("smollm3.rope.layers"))
    for (size_t layer = 0; layer < c.n_layer; ++layer) c.rope_layers.push_back((layer + 1) % 4 != 0);
  return c;
}

void import_smollm3(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like(hf, "silu", {.interleave_qk = true});
  import_layer_list(hf, "no_rope_layers", sizes.n_layer,
                    "rope.layers");  // its name notwithstanding: 1 where the layer rotates
  hf.ignore_config("no_rope_layer_interval");
}

}  // namespace

const Architecture kArchSmolLm3 = {"smollm3", "smollm3", true, smollm3_config, import_smollm3};

}  // namespace hunch
