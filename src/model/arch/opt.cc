// OPT (Zhang et al. 2022), 125m to 175b; 350m's post-norm and projected embedding; Galactica (no
// biases, GELU). llama.cpp does not know OPT: names and keys follow its conventions, and what it has
// no word for is opt.norm_placement ("post" where not "pre").
#include "model/architecture.h"

#include "base/error.h"

namespace hunch {
namespace {

ModelConfig config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file);
  if (!file.meta.has("opt.activation")) c.activation = Activation::kRelu;
  c.position = PositionKind::kLearned;
  const std::string place = file.meta.get_string("opt.norm_placement", "pre");
  if (place != "pre" && place != "post") fail(ErrorKind::kFormat, "opt.norm_placement is '{}', expected 'pre' or 'post'", place);
  c.norm_place = place == "pre" ? NormPlace::kPre : NormPlace::kPost;
  c.final_norm = file.find("output_norm.weight") != nullptr;
  return c;
}

void import(HfImport& hf) {
  constexpr size_t kPositionOffset = 2;  // HF's table begins with two rows that no position uses
  const size_t n_layer = hf.config_uint({"num_hidden_layers"});
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"max_position_embeddings"}));
  hf.set_uint("embedding_length", hf.config_uint({"hidden_size"}));
  hf.set_uint("feed_forward_length", hf.config_uint({"ffn_dim"}));
  hf.set_uint("attention.head_count", hf.config_uint({"num_attention_heads"}));
  hf.set_float("attention.layer_norm_epsilon", 1e-5);
  import_activation(hf, hf.config_string({"activation_function"}, "relu"), "relu");
  if (!hf.config_bool({"do_layer_norm_before"}, true)) hf.set_string("norm_placement", "post");

  hf.choose_prefix({"model.decoder.", "decoder."}, "embed_tokens.weight");
  const Tensor embedding = hf.take("embed_tokens.weight");
  hf.put("token_embd.weight", embedding);
  const Tensor positions = hf.take("embed_positions.weight");
  if (positions.rows() <= kPositionOffset)
    fail(ErrorKind::kFormat, "tensor '{}' has {} rows, expected more than {}", positions.name, positions.rows(), kPositionOffset);
  hf.put("position_embd.weight", hf.rows(positions, kPositionOffset, positions.rows() - kPositionOffset));
  hf.move_if_present("project_in", "embd_proj_in");
  hf.move_if_present("project_out", "embd_proj_out");
  if (!hf.config_bool({"tie_word_embeddings"}, true)) {
    hf.move_if_present("lm_head", "output");
  } else {
    hf.ignore("lm_head.weight");
  }
  hf.move_if_present("final_layer_norm", "output_norm");
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "self_attn_layer_norm", to + "attn_norm");
    hf.move(from + "self_attn.q_proj", to + "attn_q");
    hf.move(from + "self_attn.k_proj", to + "attn_k");
    hf.move(from + "self_attn.v_proj", to + "attn_v");
    hf.move(from + "self_attn.out_proj", to + "attn_output");
    hf.move(from + "final_layer_norm", to + "ffn_norm");
    hf.move(from + "fc1", to + "ffn_up");
    hf.move(from + "fc2", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchOpt = {"opt", "opt", false, config, import};

}  // namespace hunch
