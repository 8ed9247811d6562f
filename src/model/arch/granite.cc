// Granite: Llama with factors: of the embedding, of attention's scores, of what is added to the stream, of the logits.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig granite_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  if (c.logit_scale <= 0) fail(ErrorKind::kFormat, "'{}.logit_scale' is {}", c.arch, c.logit_scale);
  c.logit_scale = 1 / c.logit_scale;  // the file says what logits are divided by
  return c;
}

void import_factors(HfImport& hf) {
  hf.set_float("attention.scale", hf.config_float({"attention_multiplier"}, 1.0));
  hf.set_float("embedding_scale", hf.config_float({"embedding_multiplier"}, 1.0));
  hf.set_float("residual_scale", hf.config_float({"residual_multiplier"}, 1.0));
  hf.set_float("logit_scale", hf.config_float({"logits_scaling"}, 1.0));
}

void import_granite(HfImport& hf) {
  import_llama_like(hf, "silu", {.interleave_qk = true});
  import_factors(hf);
}

}  // namespace

const Architecture kArchGranite = {"granite", "granite", true, granite_config, import_granite};

}  // namespace hunch
