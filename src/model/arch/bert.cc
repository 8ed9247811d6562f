// BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019; XLM-R, Conneau et al. 2020): every token sees the whole text,
// learned positions, norms behind each residual addition. They make vectors of texts, or with a head of one label a
// score of two; the head that guesses masked tokens is left out. GGUF has one architecture for all. RoBERTa's table
// begins with rows that no position uses (padding_idx + 1 of them), which are cut off here as llama.cpp does.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/printable.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig bert_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluErf);
  c.position = PositionKind::kLearned;
  c.norm_place = NormPlace::kPost;
  c.causal = file.meta.get_bool("bert.attention.causal", false);
  c.final_norm = false;
  c.has_output = false;
  file.get("blk.0.attn_output_norm.weight");  // throws, naming it
  return c;
}

// Checkpoints that came from TensorFlow call weight and bias of a norm gamma and beta.
void move_norm(HfImport& hf, const std::string& from, const std::string& to) {
  const bool old = !hf.has(from + ".weight") && hf.has(from + ".gamma");
  hf.put(to + ".weight", hf.take(from + (old ? ".gamma" : ".weight")));
  hf.put(to + ".bias", hf.take(from + (old ? ".beta" : ".bias")));
}

// The head of a model that scores: BERT's pooler and classifier, or both in one.
void import_head(HfImport& hf) {
  const bool is_roberta = hf.has("classifier.dense.weight"), is_bert = hf.has("classifier.weight");
  if (!is_roberta && !is_bert) {
    hf.ignore_all("pooler.");
    return;
  }
  hf.move(is_roberta ? "classifier.dense" : "pooler.dense", "cls");
  hf.move(is_roberta ? "classifier.out_proj" : "classifier", "cls.output");
  if (is_roberta) hf.ignore_all("pooler.");
  hf.set_uint("pooling_type", uint64_t(PoolingKind::kRank));
}

void import_bert(HfImport& hf) {
  const std::string kind = hf.config_string({"model_type"}, "bert");
  const bool is_bert = kind == "bert";
  const std::string positions = hf.config_string({"position_embedding_type"}, "absolute");
  if (positions != "absolute")
    fail(ErrorKind::kUnsupported, "config.json: position_embedding_type '{}', expected absolute", printable(positions));
  if (hf.config_bool({"is_decoder"}, false))
    fail(ErrorKind::kUnsupported, "config.json: is_decoder is true; hunch reads {} that sees whole texts", kind);
  const size_t n_layer = hf.config_uint({"num_hidden_layers"}), n_embd = hf.config_uint({"hidden_size"});
  const size_t n_positions = hf.config_uint({"max_position_embeddings"});
  const size_t offset = is_bert ? 0 : hf.config_uint({"pad_token_id"}, 1) + 1;
  if (n_positions <= offset)
    fail(ErrorKind::kFormat, "config.json: max_position_embeddings is {}, expected more than {}", n_positions, offset);
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", n_positions - offset);
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"intermediate_size"}));
  hf.set_uint("attention.head_count", hf.config_uint({"num_attention_heads"}));
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_eps"}, is_bert ? 1e-12 : 1e-5));
  hf.set_bool("attention.causal", false);
  import_activation(hf, hf.config_string({"hidden_act"}, "gelu"), "gelu");
  hf.ignore_config("tie_word_embeddings");  // of the head that guesses masked tokens

  hf.choose_prefix({"", "bert.", "roberta."}, "embeddings.word_embeddings.weight");
  hf.move("embeddings.word_embeddings", "token_embd");
  const Tensor table = hf.take("embeddings.position_embeddings.weight");
  hf.put("position_embd.weight", hf.rows(table, offset, n_positions - offset));
  hf.move("embeddings.token_type_embeddings", "token_types");
  move_norm(hf, "embeddings.LayerNorm", "token_embd_norm");
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("encoder.layer.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "attention.self.query", to + "attn_q");
    hf.move(from + "attention.self.key", to + "attn_k");
    hf.move(from + "attention.self.value", to + "attn_v");
    hf.move(from + "attention.output.dense", to + "attn_output");
    move_norm(hf, from + "attention.output.LayerNorm", to + "attn_output_norm");
    hf.move(from + "intermediate.dense", to + "ffn_up");
    hf.move(from + "output.dense", to + "ffn_down");
    move_norm(hf, from + "output.LayerNorm", to + "layer_output_norm");
  }
  import_head(hf);
  for (const char* masked : {"cls.", "lm_head."}) hf.ignore_all(masked);
}

}  // namespace

const Architecture kArchBert = {"bert", "bert,roberta,xlm-roberta", true, bert_config, import_bert};

}  // namespace hunch
