// XGLM: OPT's block with sinusoidal positions (fairseq's table, which starts at 2) and scaled embeddings.
// llama.cpp does not know it; names follow its conventions.
#include <cmath>

#include "base/error.h"
#include "model/arch/fairseq_like.h"

namespace hunch {
namespace {

ModelConfig xglm_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluErf);
  c.position = PositionKind::kSinusoidal;
  c.position_offset = 2;
  c.embedding_scale = float(file.meta.get_float("xglm.embedding_scale", 1.0));
  return c;
}

void import_xglm(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"num_layers"}), n_embd = hf.config_uint({"d_model"});
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"max_position_embeddings"}));
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"ffn_dim"}));
  hf.set_uint("attention.head_count", hf.config_uint({"attention_heads"}));
  hf.set_float("attention.layer_norm_epsilon", 1e-5);
  if (hf.config_bool({"scale_embedding"}, true)) hf.set_float("embedding_scale", std::sqrt(double(n_embd)));
  import_activation(hf, hf.config_string({"activation_function"}, "gelu"), "gelu");
  hf.choose_prefix({"model.", ""}, "embed_tokens.weight");
  hf.move("embed_tokens", "token_embd");
  hf.move("layer_norm", "output_norm");
  hf.ignore("lm_head.weight");
  hf.ignore("embed_positions.weights");
  import_fairseq_layers(hf, n_layer);
}

}  // namespace

const Architecture kArchXglm = {"xglm", "xglm", false, xglm_config, import_xglm};

}  // namespace hunch
