// Mistral 3 (Ministral 3): Llama whose queries grow with their position.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig mistral3_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  return c;
}

void import_mistral3(HfImport& hf) {
  import_llama_like(hf, "silu", {.interleave_qk = true});
  if (hf.has_config("rope_scaling.llama_4_scaling_beta"))
    hf.set_float("attention.temperature_scale", hf.config_float({"rope_scaling.llama_4_scaling_beta"}));
}

}  // namespace

const Architecture kArchMistral3 = {"mistral3", "ministral3", true, mistral3_config, import_mistral3};

}  // namespace hunch
