// Nomic-BERT (Nussbaum et al. 2024, arXiv:2402.01613): BERT with rotary positions, a gated MLP, one matrix for queries,
// keys and values, and mostly without biases. Of the published code's choices those that were published are read: norms
// behind the additions, whole heads rotated by halves, SwiGLU or GeGLU.
#include "base/error.h"
#include "io/printable.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig nomic_bert_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.position = PositionKind::kRope;
  c.gated = true;
  c.norm_place = NormPlace::kPost;
  c.causal = file.meta.get_bool("nomic-bert.attention.causal", false);
  c.final_norm = false;
  c.has_output = false;
  file.get("blk.0.attn_output_norm.weight");  // throws, naming it
  return c;
}

void expect_flag(const HfImport& hf, const char* name, bool expected) {
  if (hf.config_bool({name}, expected) != expected)
    fail(ErrorKind::kUnsupported, "config.json: {} is {}, expected {}", name, !expected, expected);
}

void check_choices(const HfImport& hf) {
  for (const char* name : {"prenorm", "rotary_emb_interleaved", "causal", "use_rms_norm", "parallel_block",
                           "scale_attn_by_inverse_layer_idx"})
    expect_flag(hf, name, false);
  expect_flag(hf, "scale_attn_weights", true);
  if (const double share = hf.config_float({"rotary_emb_fraction"}, 1.0); share != 1)
    fail(ErrorKind::kUnsupported, "config.json: rotary_emb_fraction is {}, expected 1", share);
  for (const char* name : {"rotary_emb_scale_base", "rotary_scaling_factor"})
    if (hf.has_config(name)) fail(ErrorKind::kUnsupported, "config.json: {} is given, expected null", name);
  // How a training framework fuses things, what the tensors say themselves, and heads that are left out.
  for (const char* name : {"fused_bias_fc", "fused_dropout_add_ln", "use_xentropy", "pad_vocab_size_multiple",
                           "max_trained_positions", "parallel_block_tied_norm", "dense_seq_output", "last_layer_subset",
                           "qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "tie_word_embeddings", "add_pooling_layer"})
    hf.ignore_config(name);
}

void import_nomic_bert(HfImport& hf) {
  check_choices(hf);
  const std::string activation = hf.config_string({"activation_function"}, "swiglu");
  if (activation != "swiglu" && activation != "geglu")
    fail(ErrorKind::kUnsupported, "config.json: activation_function '{}', expected swiglu or geglu",
         printable(activation));
  import_activation(hf, activation == "swiglu" ? "silu" : "gelu", "silu");
  const size_t n_layer = hf.config_uint({"n_layer", "num_hidden_layers"});
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"n_positions", "max_position_embeddings"}, 2048));
  hf.set_uint("embedding_length", hf.config_uint({"n_embd", "hidden_size"}));
  hf.set_uint("attention.head_count", hf.config_uint({"n_head", "num_attention_heads"}));
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-12));
  hf.set_float("rope.freq_base", hf.config_float({"rotary_emb_base"}, 10000.0));
  hf.set_bool("attention.causal", false);
  hf.ignore_config("n_inner");  // which the published code rounds up: the tensors know

  hf.choose_prefix({"", "bert."}, "embeddings.word_embeddings.weight");
  hf.move("embeddings.word_embeddings", "token_embd");
  hf.move_if_present("embeddings.token_type_embeddings", "token_types");
  hf.move("emb_ln", "token_embd_norm");
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("encoder.layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    if (layer == 0) {
      const Tensor up = hf.take(from + "mlp.fc11.weight");
      hf.set_uint("feed_forward_length", up.rows());
    }
    hf.move(from + "attn.Wqkv", to + "attn_qkv");
    hf.move(from + "attn.out_proj", to + "attn_output");
    hf.move(from + "norm1", to + "attn_output_norm");
    hf.move(from + "mlp.fc11", to + "ffn_up");
    hf.move(from + "mlp.fc12", to + "ffn_gate");
    hf.move(from + "mlp.fc2", to + "ffn_down");
    hf.move(from + "norm2", to + "layer_output_norm");
  }
  for (const char* head : {"pooler.", "cls."}) hf.ignore_all(head);
}

}  // namespace

const Architecture kArchNomicBert = {"nomic-bert", "nomic_bert", true, nomic_bert_config, import_nomic_bert};

}  // namespace hunch
