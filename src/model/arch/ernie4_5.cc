// ERNIE 4.5: Llama with interleaved pairs, in the checkpoint too.
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

}  // namespace

const Architecture kArchErnie45 = {"ernie4_5", "ernie4_5", true, ernie_config, import_ernie};

}  // namespace hunch
