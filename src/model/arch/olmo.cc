// OLMo: layer norms without weights (eps 1e-5), Q, K and V clipped. GGUF files keep Q and K rows in the
// order of interleaved RoPE, as for Llama.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig olmo_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.gated = true;
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  return c;
}

void import_olmo(HfImport& hf) {
  const LlamaLikeTensors options{.interleave_qk = true};
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  if (hf.has_config("clip_qkv")) hf.set_float("attention.clamp_kqv", hf.config_float({"clip_qkv"}));
  import_llama_like_ends(hf, options);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    import_llama_like_attention(hf, layer, sizes, options);
    import_llama_like_mlp(hf, layer);
  }
}

ModelConfig olmo2_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.norm_place = NormPlace::kBranch;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.qk_norm = QkNorm::kAllHeads;
  if (!c.windows.empty()) rotate_windowed_layers(c, c.rope.base);  // OLMo 3 stretches its full layers only
  return c;
}

}  // namespace

const Architecture kArchOlmo2 = {"olmo2", "olmo2,olmo3", true, olmo2_config, import_branch_normed};
const Architecture kArchOlmo = {"olmo", "olmo", true, olmo_config, import_olmo};

}  // namespace hunch
