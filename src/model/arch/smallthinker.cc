// SmallThinker: a router that reads the stream as it enters the layer, experts with a ReLU gate (exact zeros), and
// layers with windows, which alone rotate, between full ones.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig smallthinker_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kRelu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  if (!file.meta.has("smallthinker.expert_gating_func")) c.moe.score = RouterScore::kSigmoid;
  c.moe.early_router = true;
  default_windows(file, c, 4, WindowPattern::kFirstIsFull);
  rotate_only_windowed_layers(file, c);
  return c;
}

void import_smallthinker(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "relu");
  const size_t n_expert = hf.config_uint({"moe_num_primary_experts"}), n_ff = hf.config_uint({"moe_ffn_hidden_size"});
  import_moe_counts(hf, n_expert, hf.config_uint({"moe_num_active_primary_experts"}), n_ff);
  hf.set_uint("expert_gating_func", hf.config_bool({"moe_primary_router_apply_softmax"}, false) ? 3 : 2);
  import_layer_list(hf, "rope_layout", sizes.n_layer, "rope.layers");
  if (const uint64_t window = hf.config_uint({"sliding_window_size"}, 0)) {
    hf.set_uint("attention.sliding_window", window);
    import_layer_list(hf, "sliding_window_layout", sizes.n_layer, "attention.sliding_window_pattern");
  }
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move(from + "block_sparse_moe.primary_router", to + "ffn_gate_inp");
    for (const char* part : {"gate", "up", "down"})
      import_experts(hf, from + "block_sparse_moe.experts", part, n_expert, fmt::format("{}ffn_{}_exps", to, part));
  }
}

}  // namespace

const Architecture kArchSmallThinker = {"smallthinker", "smallthinker", true, smallthinker_config, import_smallthinker};

}  // namespace hunch
