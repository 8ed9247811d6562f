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

void import_exaone4(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    import_llama_like_attention(hf, layer, sizes, {});
    import_branch_norms(hf, layer, {});
    import_llama_like_mlp(hf, layer);
  }
}

}  // namespace

const Architecture kArchExaone4 = {"exaone4", "exaone4", true, exaone4_config, import_exaone4};

}  // namespace hunch
