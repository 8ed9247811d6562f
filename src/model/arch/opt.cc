// OPT (Zhang et al. 2022), 125m to 175b; 350m's post-norm and projected embedding; Galactica (no
// biases, GELU). llama.cpp does not know OPT: names and keys follow its conventions, and what it has
// no word for is opt.norm_placement ("post" where not "pre").
#include "model/arch/fairseq_like.h"

#include "base/error.h"

namespace hunch {
namespace {

ModelConfig opt_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kRelu);
  c.position = PositionKind::kLearned;
  const std::string place = file.meta.get_string("opt.norm_placement", "pre");
  if (place != "pre" && place != "post")
    fail(ErrorKind::kFormat, "opt.norm_placement is '{}', expected 'pre' or 'post'", place);
  c.norm_place = place == "pre" ? NormPlace::kPre : NormPlace::kPost;
  c.final_norm = file.find("output_norm.weight") != nullptr;
  return c;
}

void import_opt(HfImport& hf) {
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
    fail(ErrorKind::kFormat, "tensor '{}' has {} rows, expected more than {}", positions.name, positions.rows(),
         kPositionOffset);
  hf.put("position_embd.weight", hf.rows(positions, kPositionOffset, positions.rows() - kPositionOffset));
  hf.move_if_present("project_in", "embd_proj_in");
  hf.move_if_present("project_out", "embd_proj_out");
  import_output(hf, "lm_head", true);
  hf.move_if_present("final_layer_norm", "output_norm");
  import_fairseq_layers(hf, n_layer);
}

}  // namespace

const Architecture kArchOpt = {"opt", "opt", false, opt_config, import_opt};

}  // namespace hunch
