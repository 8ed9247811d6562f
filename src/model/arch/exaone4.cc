// EXAONE 4: norms on the branches' outputs only, normalised query and key heads; where some layers have windows, the
// others do not rotate.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig exaone4_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.norm_place = NormPlace::kBranch;
  c.qk_norm = QkNorm::kShared;
  default_windows(file, c, 4);
  rotate_only_windowed_layers(file, c);
  return c;
}

}  // namespace

const Architecture kArchExaone4 = {"exaone4", "exaone4", true, exaone4_config, import_branch_normed};

}  // namespace hunch
