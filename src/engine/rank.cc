#include "engine/rank.h"

#include "base/error.h"

namespace hunch {

TextToRead pair_of(const Engine& engine, std::string_view query, std::string_view document) {
  const TokenizerSpec& spec = engine.need_tokenizer().spec();
  if (!spec.add_bos || !spec.bos || !spec.add_eos || !spec.eos)
    fail(ErrorKind::kUnsupported, "the model's tokenizer does not begin and end texts, as one for pairs of texts does");
  TextToRead pair{engine.encode(query)};
  if (spec.kind != TokenizerKind::kWordPiece) pair.ids.push_back(*spec.eos);
  if (engine.model->weights().type_embd.size() > engine.config().n_embd) pair.second_begins = pair.ids.size();
  const std::vector<int32_t> second = engine.encode(document, {.add_special = false});
  pair.ids.insert(pair.ids.end(), second.begin(), second.end());
  pair.ids.push_back(*spec.eos);
  return pair;
}

std::vector<float> rank(const Engine& engine, std::string_view query, std::span<const std::string> documents,
                        const ReadingOptions& options) {
  const RankHead& head = engine.model->weights().rank_head;
  if (head.n_labels == 0)
    fail(ErrorKind::kUnsupported,
         "this model has no head that scores pairs of texts (cls.output.weight); `hunch embed` compares vectors");
  if (head.n_labels != 1)
    fail(ErrorKind::kUnsupported, "the model's head has {} labels; one that scores pairs of texts has 1",
         head.n_labels);
  std::vector<TextToRead> pairs;
  for (const std::string& document : documents) pairs.push_back(pair_of(engine, query, document));
  std::vector<float> scores(documents.size());
  read_texts(engine, pairs, options,
             [&](size_t i, MatView<const float> states) { scores[i] = head.score(states.row(0)); });
  return scores;
}

}  // namespace hunch
