// ModernBERT (Warner et al. 2024, arXiv:2412.13663): every token sees the whole text in one layer of a few, and its
// neighbours to both sides in the others, which rotate by a base of their own. Norms stand before the blocks, but for
// the first attention, which reads the embeddings' norm; gated GELU; no biases.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/printable.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig modern_bert_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluErf);
  c.position = PositionKind::kRope;
  c.gated = true;
  c.norm_place = NormPlace::kPre;
  c.causal = file.meta.get_bool("modern-bert.attention.causal", false);
  c.has_output = false;
  const std::string scored = file.meta.get_string("modern-bert.classifier.pooling", "cls");
  if (scored != "cls" && scored != "mean")
    fail(ErrorKind::kUnsupported, "'modern-bert.classifier.pooling' is '{}', expected cls or mean", printable(scored));
  c.rank_of_mean = scored == "mean";
  c.first_norm = file.find("blk.0.attn_norm.weight") != nullptr;
  // llama.cpp's number counts the neighbours on both sides; and of `period` layers the first sees all.
  const uint64_t neighbours = file.meta.get_uint("modern-bert.attention.sliding_window", 0);
  const uint64_t period = file.meta.get_uint("modern-bert.attention.sliding_window_pattern", 3);
  c.windows.clear();
  for (size_t layer = 0; neighbours > 0 && layer < std::min<size_t>(c.n_layer, 10000); ++layer)
    c.windows.push_back(period == 0 || layer % period == 0 ? 0 : neighbours / 2 + 1);
  return c;
}

// Of how many layers the first sees all tokens.
size_t period_of(const HfImport& hf, size_t n_layer) {
  const size_t said = hf.config_uint({"global_attn_every_n_layers"}, 3);
  if (!hf.has_config("layer_types")) return said;
  const auto& kinds = hf.config()["layer_types"];
  if (!kinds.is_array() || kinds.size() != n_layer)
    fail(ErrorKind::kFormat, "config.json: layer_types has {} entries, expected one for each of {} layers",
         kinds.size(), n_layer);
  size_t period = 1;
  while (period < n_layer && kinds[period] != "full_attention") ++period;
  for (size_t layer = 0; layer < n_layer; ++layer)
    if (kinds[layer] != (layer % period == 0 ? "full_attention" : "sliding_attention"))
      fail(ErrorKind::kUnsupported,
           "config.json: layer {} is of type {}; hunch reads ModernBERT of which the first of every {} layers is "
           "full_attention and the others are sliding_attention",
           layer, printable(kinds[layer].dump(), 60), period);
  return period;
}

// The head of a model that scores: that of the masked tokens, and a classifier.
void import_head(HfImport& hf) {
  if (!hf.has("classifier.weight")) return;
  if (const std::string act = hf.config_string({"classifier_activation"}, "gelu"); act != "gelu")
    fail(ErrorKind::kUnsupported, "config.json: classifier_activation is '{}', expected gelu", printable(act));
  hf.move("head.dense", "cls");
  hf.move("head.norm", "cls.norm");
  hf.move("classifier", "cls.output");
  hf.set_string("classifier.pooling", hf.config_string({"classifier_pooling"}, "cls"));
  hf.set_uint("pooling_type", uint64_t(PoolingKind::kRank));
}

void import_modern_bert(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"num_hidden_layers"});
  const double base = hf.config_float({"global_rope_theta", "rope_theta"}, 160000.0);
  const bool local_is_null = hf.config().contains("local_rope_theta") && hf.config()["local_rope_theta"].is_null();
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"max_position_embeddings"}));
  hf.set_uint("embedding_length", hf.config_uint({"hidden_size"}));
  hf.set_uint("feed_forward_length", hf.config_uint({"intermediate_size"}));
  hf.set_uint("attention.head_count", hf.config_uint({"num_attention_heads"}));
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"norm_eps", "layer_norm_eps"}, 1e-5));
  hf.set_float("rope.freq_base", base);
  hf.set_float("rope.freq_base_swa",
               hf.config_float({"local_rope_theta", "rope_local_base_freq"}, local_is_null ? base : 10000.0));
  hf.set_uint("attention.sliding_window", hf.config_uint({"local_attention"}, 128));
  hf.set_uint("attention.sliding_window_pattern", period_of(hf, n_layer));
  hf.set_bool("attention.causal", false);
  import_activation(hf, hf.config_string({"hidden_activation"}, "gelu"), "gelu");
  if (hf.has_config("rope_scaling"))
    fail(ErrorKind::kUnsupported, "config.json: ModernBERT with a rope_scaling, which hunch does not read");
  // What the tensors say themselves, how the library computes, and heads that are left out.
  for (const char* name : {"norm_bias",
                           "mlp_bias",
                           "decoder_bias",
                           "classifier_bias",
                           "classifier_activation",
                           "classifier_pooling",
                           "classifier_dropout",
                           "deterministic_flash_attn",
                           "sparse_prediction",
                           "sparse_pred_ignore_index",
                           "reference_compile",
                           "repad_logits_with_grad",
                           "tie_word_embeddings",
                           "position_embedding_type",
                           "local_rope_theta",
                           "global_attn_every_n_layers",
                           "initializer_cutoff_factor",
                           "rope_theta",
                           "rope_scaling",
                           "layer_norm_eps"})
    hf.ignore_config(name);

  hf.choose_prefix({"", "model."}, "embeddings.tok_embeddings.weight");
  hf.move("embeddings.tok_embeddings", "token_embd");
  hf.move("embeddings.norm", "token_embd_norm");
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move_if_present(from + "attn_norm", to + "attn_norm");
    hf.move(from + "attn.Wqkv", to + "attn_qkv");
    hf.move(from + "attn.Wo", to + "attn_output");
    hf.move(from + "mlp_norm", to + "ffn_norm");
    hf.move(from + "mlp.Wi", to + "ffn_up");  // what is activated, then what it multiplies
    hf.move(from + "mlp.Wo", to + "ffn_down");
  }
  hf.move("final_norm", "output_norm");
  import_head(hf);
  for (const char* masked : {"head.", "decoder."}) hf.ignore_all(masked);
}

}  // namespace

const Architecture kArchModernBert = {"modern-bert", "modernbert", true, modern_bert_config, import_modern_bert};

}  // namespace hunch
