// Seed-OSS: Llama with biased queries, keys and values.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig seed_oss_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  return c;
}

void import_seed_oss(HfImport& hf) {
  hf.ignore_config("attention_out_bias");  // the tensors say so
  import_llama_like(hf, "silu", {}, "post_attention_norm");
}

}  // namespace

const Architecture kArchSeedOss = {"seed_oss", "seed_oss", true, seed_oss_config, import_seed_oss};

}  // namespace hunch
