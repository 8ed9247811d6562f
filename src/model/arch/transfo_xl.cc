// Transformer-XL (Dai et al. 2019, arXiv:1901.02860): relative positions, a memory of earlier segments, and words in
// clusters of ever smaller vectors. llama.cpp does not know it: names and keys follow its conventions, and what it has
// no word for is "attention.memory_length", ".segment_length", ".same_length", ".clamp_length", "norm_placement" and
// "vocabulary_ends". Clusters' vectors are multiplied out: a row of n_embd values for every word.
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "formats/format.h"
#include "kernels/ops.h"
#include "model/architecture.h"

namespace hunch {
namespace {

ModelConfig transfo_xl_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kRelu);
  const auto key = [&](const char* name) { return fmt::format("{}.{}", c.arch, name); };
  c.position = PositionKind::kNone;
  c.final_norm = false;
  const std::string place = file.meta.get_string(key("norm_placement"), "post");
  if (place != "pre" && place != "post")
    fail(ErrorKind::kFormat, "'{}' is '{}', expected 'pre' or 'post'", key("norm_placement"), place);
  c.norm_place = place == "pre" ? NormPlace::kPre : NormPlace::kPost;
  c.relative.on = true;
  c.relative.memory = file.meta.get_uint(key("attention.memory_length"));
  c.relative.segment = file.meta.get_uint(key("attention.segment_length"), 0);
  c.relative.same_length = file.meta.get_bool(key("attention.same_length"), false);
  c.relative.clamp = file.meta.get_uint(key("attention.clamp_length"), 0);
  size_t last = 0;
  for (const int64_t end : file.meta.get_ints(key("vocabulary_ends"))) {
    if (end <= int64_t(last))
      fail(ErrorKind::kFormat, "'{}' has {} after {}, expected numbers that grow", key("vocabulary_ends"), end, last);
    c.vocabulary_ends.push_back(last = size_t(end));
  }
  if (last != c.n_vocab)
    fail(ErrorKind::kFormat, "'{}' ends at {}, expected the {} words of the embedding", key("vocabulary_ends"), last,
         c.n_vocab);
  return c;
}

std::vector<float> values_of(const Tensor& t) {
  std::vector<float> values(t.n_elems());
  codec(t.dtype).decode(t.data.data(), values.data(), values.size());
  return values;
}

// Words [n, d] by a projection [n_embd, d]: [n, n_embd] in f32. Without data, as without a projection, the words.
Tensor projected(HfImport& hf, const Tensor& words, const std::optional<Tensor>& projection) {
  if (!projection || words.data.empty() || projection->data.empty()) return words;
  if (words.shape.size() != 2 || projection->shape.size() != 2 || words.cols() != projection->cols())
    fail(ErrorKind::kFormat, "'{}' has vectors of {} values, '{}' takes such of {}", words.name, words.cols(),
         projection->name, projection->cols());
  const size_t n = words.rows(), d = words.cols(), n_embd = projection->rows();
  const std::vector<float> W = values_of(words), P = values_of(*projection);
  std::vector<float> out(n * n_embd);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n_embd; ++j)
      out[i * n_embd + j] = dot(std::span(W).subspan(i * d, d), std::span(P).subspan(j * d, d));
  return hf.from_floats(out, {n, n_embd});
}

// A vocabulary's tables, cluster by cluster.
class Clusters {
 public:
  explicit Clusters(HfImport& hf) : hf_(hf), by_cluster_(hf.config_uint({"div_val"}, 1) > 1) {
    if (hf.has_config("cutoffs")) {
      if (!hf.config()["cutoffs"].is_array()) fail(ErrorKind::kFormat, "config.json: 'cutoffs' should be a list");
      for (const auto& end : hf.config()["cutoffs"]) {
        if (!end.is_number_unsigned() || end.get<uint64_t>() <= (cutoffs_.empty() ? 0 : cutoffs_.back()))
          fail(ErrorKind::kFormat, "config.json: 'cutoffs' should be numbers that grow, found {}",
               hf.config()["cutoffs"].dump().substr(0, 80));
        cutoffs_.push_back(end.get<uint64_t>());
      }
    }
    ties_words_ = hf.config_bool({"tie_word_embeddings", "tie_weight"}, true);
    const bool shares = hf.config_bool({"proj_share_all_but_first"}, true);
    for (size_t i = 0; i < n(); ++i) ties_.push_back(i > 0 && shares);
    if (hf.has_config("tie_projs")) {
      const auto& ties = hf.config()["tie_projs"];
      for (size_t i = 0; i < n() && ties.is_array() && i < ties.size(); ++i) ties_[i] = ties[i] == true;
    }
  }

  size_t n() const { return cutoffs_.size() + 1; }

  // The embedding, and the output matrix where it is another.
  void import() {
    std::vector<uint64_t> ends = cutoffs_;
    std::vector<Tensor> in, out;
    bool same = ties_words_;
    for (size_t i = 0; i < n(); ++i) {
      const Tensor table = part("transformer.word_emb.emb_layers", i);
      const Tensor own = ties_words_ ? table : part("crit.out_layers", i);
      in.push_back(projected(hf_, table, projection(i, false)));
      out.push_back(is_tied(i) && ties_words_ ? in.back() : projected(hf_, own, projection(i, true)));
      same = same && is_tied(i);
    }
    const Tensor embedding = joined(in);
    hf_.put("token_embd.weight", embedding);
    if (!same) hf_.put("output.weight", joined(out));
    ends.push_back(embedding.rows());
    hf_.set_uints("vocabulary_ends", std::span<const uint64_t>(ends));
    bias();
    if (n() > 1) {
      hf_.put("output_clusters.weight", projected(hf_, hf_.take("crit.cluster_weight"), projection(0, true)));
      hf_.put("output_clusters.bias", hf_.take("crit.cluster_bias"));
    }
    for (size_t i = 0; i < n(); ++i) {  // copies of what they are tied to, as some files have them
      if (ties_[i]) hf_.ignore(fmt::format("crit.out_projs.{}", i));
      if (ties_words_) hf_.ignore(fmt::format("crit.out_layers.{}.weight", i));
    }
  }

 private:
  // Cluster i's rows, of tables that are one for all words, or one for each.
  Tensor part(std::string_view tables, size_t i) {
    if (by_cluster_) return hf_.take(fmt::format("{}.{}.weight", tables, i));
    const Tensor all = hf_.take(fmt::format("{}.0.weight", tables));
    if (all.data.empty()) return all;
    const size_t begin = i == 0 ? 0 : cutoffs_[i - 1], end = i < cutoffs_.size() ? cutoffs_[i] : all.rows();
    if (begin >= end) fail(ErrorKind::kFormat, "'{}' has {} rows, the cutoffs end at {}", all.name, all.rows(), begin);
    return hf_.rows(all, begin, end - begin);
  }
  // Whether cluster i's words are projected by the same matrix on both ends, if by any.
  bool is_tied(size_t i) const { return !has_projections() || ties_[i]; }
  bool has_projections() const { return hf_.has("transformer.word_emb.emb_projs.0"); }
  std::optional<Tensor> projection(size_t i, bool output) {
    if (!has_projections()) return {};
    if (output && !ties_[i]) return hf_.take(fmt::format("crit.out_projs.{}", i));
    return hf_.take(fmt::format("transformer.word_emb.emb_projs.{}", by_cluster_ ? i : 0));
  }
  Tensor joined(const std::vector<Tensor>& parts) {
    return parts.size() == 1 || parts[0].data.empty() ? parts[0] : hf_.concatenated(parts);
  }
  void bias() {
    if (!by_cluster_) return hf_.put("output.bias", hf_.take("crit.out_layers.0.bias"));
    std::vector<Tensor> parts;
    for (size_t i = 0; i < n(); ++i) {  // as columns, which can stand one below the other
      const Tensor part = hf_.take(fmt::format("crit.out_layers.{}.bias", i));
      parts.push_back(hf_.reshaped(part, {part.n_elems(), 1}));
    }
    const Tensor all = joined(parts);
    hf_.put("output.bias", hf_.reshaped(all, {all.n_elems()}));
  }

  HfImport& hf_;
  const bool by_cluster_;
  bool ties_words_ = true;
  std::vector<uint64_t> cutoffs_;
  std::vector<bool> ties_;
};

void import_transfo_xl(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"n_layer", "num_hidden_layers"}, 18);
  const size_t n_embd = hf.config_uint({"d_model", "hidden_size"}, 1024);
  if (const uint64_t type = hf.config_uint({"attn_type"}, 0); type != 0)
    fail(ErrorKind::kUnsupported, "config.json: attn_type is {}, expected 0: Transformer-XL's own attention", type);
  for (const char* said :
       {"d_embed", "n_token", "adaptive", "untie_r", "sample_softmax", "ext_len", "tie_weight"})  // by the tensors,
    hf.ignore_config(said);                                                                       // or to train with
  for (const char* trained : {"init", "init_range", "proj_init_std", "dropatt"}) hf.ignore_config(trained);
  const size_t memory = hf.config_uint({"mem_len"}, 1600), segment = hf.config_uint({"tgt_len"}, 0);
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", std::max<size_t>(1, memory + segment));  // there is no limit
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"d_inner", "intermediate_size"}, 4096));
  hf.set_uint("attention.head_count", hf.config_uint({"n_head", "num_attention_heads"}, 16));
  hf.set_uint("attention.key_length", hf.config_uint({"d_head", "head_dim"}, 64));
  hf.set_uint("attention.value_length", hf.config_uint({"d_head", "head_dim"}, 64));
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-5));
  hf.set_float("embedding_scale", std::sqrt(double(n_embd)));
  hf.set_uint("attention.memory_length", memory);
  if (segment > 0) hf.set_uint("attention.segment_length", segment);
  if (hf.config_bool({"same_length"}, true)) hf.set_bool("attention.same_length", true);
  if (const double clamp = hf.config_float({"clamp_len"}, 1000); clamp > 0)  // -1: none
    hf.set_uint("attention.clamp_length", uint64_t(clamp));
  if (hf.config_bool({"pre_lnorm"}, false)) hf.set_string("norm_placement", "pre");

  Clusters(hf).import();
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("transformer.layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "dec_attn.qkv_net", to + "attn_qkv");
    hf.move(from + "dec_attn.o_net", to + "attn_output");
    hf.move(from + "dec_attn.r_net", to + "attn_rel");
    hf.move(from + "dec_attn.layer_norm", to + "attn_norm");
    for (const auto& [theirs, ours] :
         {std::pair{"r_w_bias", "attn_content_bias"}, {"r_r_bias", "attn_position_bias"}}) {
      const std::string own = from + "dec_attn." + theirs;  // else all layers have the same
      const Tensor bias = hf.take(hf.has(own) ? own : fmt::format("transformer.{}", theirs));
      hf.put(to + ours, hf.reshaped(bias, {bias.n_elems()}));
    }
    hf.move(from + "pos_ff.CoreNet.0", to + "ffn_up");
    hf.move(from + "pos_ff.CoreNet.3", to + "ffn_down");
    hf.move(from + "pos_ff.layer_norm", to + "ffn_norm");
  }
  hf.ignore("transformer.r_w_bias");
  hf.ignore("transformer.r_r_bias");
  hf.ignore("transformer.pos_emb.inv_freq");
}

}  // namespace

const Architecture kArchTransfoXl = {"transfo-xl", "transfo-xl", false, transfo_xl_config, import_transfo_xl};

}  // namespace hunch
