// Arcee (AFM): Llama with squared ReLU and no gate: exact zeros.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig arcee_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kReluSquared);
  c.norm = NormKind::kRms;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  return c;
}

void import_arcee(HfImport& hf) { import_llama_like(hf, "relu2", {.interleave_qk = true}); }

}  // namespace

const Architecture kArchArcee = {"arcee", "arcee", true, arcee_config, import_arcee};

}  // namespace hunch
