// Granite: Llama with factors: of the embedding, of attention's scores, of what is added to the stream, of the logits;
// and its mixtures, whose experts are fused tensors, with or without a shared one.
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

void import_granite_moe(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  const LlamaLikeTensors options{.interleave_qk = true};
  import_factors(hf);
  const size_t n_ff = hf.config_uint({"intermediate_size"}), n_shared = hf.config_uint({"shared_intermediate_size"}, 0);
  import_moe_counts(hf, hf.config_uint({"num_local_experts"}), hf.config_uint({"num_experts_per_tok"}), n_ff, n_shared);
  import_llama_like_ends(hf, options);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, options);
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    hf.move(from + "block_sparse_moe.router.layer", to + "ffn_gate_inp");
    import_halves(hf, from + "block_sparse_moe.input_linear.weight", n_ff, to + "ffn_gate_exps", to + "ffn_up_exps");
    hf.move(from + "block_sparse_moe.output_linear", to + "ffn_down_exps");
    if (!n_shared) continue;
    import_halves(hf, from + "shared_mlp.input_linear.weight", n_shared, to + "ffn_gate_shexp", to + "ffn_up_shexp");
    hf.move(from + "shared_mlp.output_linear", to + "ffn_down_shexp");
  }
}

}  // namespace

const Architecture kArchGraniteMoe = {"granitemoe", "granitemoe,granitemoeshared", true, granite_config,
                                      import_granite_moe};
const Architecture kArchGranite = {"granite", "granite", true, granite_config, import_granite};

}  // namespace hunch
