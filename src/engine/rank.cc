#include "engine/rank.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "engine/pooling.h"
#include "formats/format.h"

namespace hunch {
namespace {

// What Qwen3-Reranker was trained with, as its card publishes it.
constexpr std::string_view kBefore =
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    "provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
constexpr std::string_view kAfter = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
constexpr const char* kWebSearch = "Given a web search query, retrieve relevant passages that answer the query";

bool is_called_reranker(const ModelConfig& config) {
  std::string name = config.name;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return name.find("rerank") != name.npos;
}

// The labels of a head of two, as llama.cpp writes them: where "yes" and "no" stand; none: it has others.
struct YesNo {
  size_t yes, no;
};
std::optional<YesNo> labels_of(const Engine& engine) {
  const Metadata& meta = engine.model->file().meta;
  const std::string key = engine.config().arch + ".classifier.output_labels";
  if (engine.model->weights().rank_head.n_labels != 2 || !meta.has(key)) return std::nullopt;
  const std::vector<std::string>& labels = meta.get_strings(key);
  if (labels == std::vector<std::string>{"yes", "no"}) return YesNo{0, 1};
  if (labels == std::vector<std::string>{"no", "yes"}) return YesNo{1, 0};
  return std::nullopt;
}

int32_t word_id(const Engine& engine, std::string_view word) {
  const std::vector<int32_t> ids = engine.encode(word, {.add_special = false});
  if (ids.size() != 1)
    fail(ErrorKind::kUnsupported, "'{}' is {} tokens of this model; one whose yes and no are scored has one for each",
         word, ids.size());
  return ids[0];
}

// The row of the output matrix that makes this token's logit.
std::vector<float> output_row(const Engine& engine, int32_t id) {
  const ModelConfig& c = engine.config();
  const Linear* output = engine.model->weights().output.get();
  if (!output || !output->rows() || output->n_in != c.n_embd || !output->bias().empty() || c.logit_soft_cap > 0)
    fail(ErrorKind::kUnsupported,
         "the logits of this model are no plain product with its last state, of which yes and no could be scored");
  std::vector<float> row(c.n_embd);
  codec(output->rows().dtype).decode(output->rows().row(size_t(id)), row.data(), row.size());
  for (float& v : row) v *= c.logit_scale;
  return row;
}

std::vector<float> difference(std::span<const float> a, std::span<const float> b) {
  std::vector<float> out(a.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = a[i] - b[i];
  return out;
}

}  // namespace

Ranker::Ranker(const Engine& engine, const RankOptions& options)
    : engine_(engine), head_(engine.model->weights().rank_head) {
  const ModelConfig& c = engine.config();
  const bool decodes = c.causal && c.has_output;
  if (const auto labels = labels_of(engine); labels && head_.dense.empty()) {
    const std::span<const float> out = head_.out;
    head_.out = difference(out.subspan(labels->yes * c.n_embd, c.n_embd), out.subspan(labels->no * c.n_embd, c.n_embd));
    if (!head_.out_bias.empty()) head_.out_bias = {head_.out_bias[labels->yes] - head_.out_bias[labels->no]};
    head_.n_labels = 1;
    use_words(options.instruction.value_or(kWebSearch));
    return;
  }
  if (head_.n_labels == 0 && decodes && (options.yes_no || is_called_reranker(c))) {
    head_.out = difference(output_row(engine, word_id(engine, "yes")), output_row(engine, word_id(engine, "no")));
    head_.n_labels = 1;
    use_words(options.instruction.value_or(kWebSearch));
    return;
  }
  if (head_.n_labels == 0)
    fail(ErrorKind::kUnsupported,
         "this model has no head that scores pairs of texts (cls.output.weight){}; `hunch embed` compares vectors",
         decodes ? ", and is not called a reranker: a decoder that was trained to answer yes or no is scored by that "
                   "if it is said (yes_no)"
                 : "");
  if (head_.n_labels != 1)
    fail(ErrorKind::kUnsupported, "the model's head has {} labels; one that scores pairs of texts has 1, or yes and no",
         head_.n_labels);
  if (options.yes_no || options.instruction)
    fail(ErrorKind::kUsage,
         "the model scores pairs with a head of its own, which reads no instruction (yes_no, instruct)");
}

void Ranker::use_words(const std::string& instruction) {
  answers_ = true;
  instruction_ = instruction;
  before_ = engine_.encode(kBefore, {.add_special = false, .parse_special = true});
  after_ = engine_.encode(kAfter, {.add_special = false, .parse_special = true});
}

TextToRead Ranker::pair(std::string_view query, std::string_view document) const {
  if (answers_) {
    TextToRead text{before_};
    const std::vector<int32_t> asked =
        engine_.encode(fmt::format("<Instruct>: {}\n<Query>: {}\n<Document>: {}", instruction_, query, document),
                       {.add_special = false});
    text.ids.insert(text.ids.end(), asked.begin(), asked.end());
    text.ids.insert(text.ids.end(), after_.begin(), after_.end());
    return text;
  }
  const TokenizerSpec& spec = engine_.need_tokenizer().spec();
  if (!spec.add_bos || !spec.bos || !spec.add_eos || !spec.eos)
    fail(ErrorKind::kUnsupported, "the model's tokenizer does not begin and end texts, as one for pairs of texts does");
  TextToRead pair{engine_.encode(query)};
  const bool is_bert = spec.kind == TokenizerKind::kWordPiece || spec.pieces[size_t(*spec.eos)] == "[SEP]";
  if (!is_bert) pair.ids.push_back(*spec.eos);
  if (engine_.model->weights().type_embd.size() > engine_.config().n_embd) pair.second_begins = pair.ids.size();
  const std::vector<int32_t> second = engine_.encode(document, {.add_special = false});
  pair.ids.insert(pair.ids.end(), second.begin(), second.end());
  pair.ids.push_back(*spec.eos);
  return pair;
}

float Ranker::score(MatView<const float> states) const {
  std::vector<float> state(states.cols);
  pool(states, answers_ ? PoolingKind::kLast : head_.of_mean ? PoolingKind::kMean : PoolingKind::kCls, state);
  return head_.score(state);
}

std::vector<float> rank(const Engine& engine, std::string_view query, std::span<const std::string> documents,
                        const ReadingOptions& options, const RankOptions& how) {
  const Ranker ranker(engine, how);
  std::vector<TextToRead> pairs;
  for (const std::string& document : documents) pairs.push_back(ranker.pair(query, document));
  std::vector<float> scores(documents.size());
  read_texts(engine, pairs, options, [&](size_t i, MatView<const float> states) { scores[i] = ranker.score(states); });
  return scores;
}

}  // namespace hunch
