// How well documents answer a query: by a model with a head for that (a cross-encoder: Nogueira and Cho 2019,
// arXiv:1901.04085), or by a decoder that was trained to answer yes or no (Qwen3-Reranker: Zhang et al. 2025,
// arXiv:2506.05176, section 2).
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/hidden_states.h"
#include "model/rank_head.h"

namespace hunch {

struct RankOptions {
  // Of a decoder, whatever its name: its logits of "yes" less those of "no" are the score. Otherwise only of one that
  // is called a reranker, or has a head with these two labels.
  bool yes_no = false;
  std::optional<std::string> instruction = {};  // what a yes/no model is asked to find; none: web search's
};

// What a model reads of a pair of texts and how it scores them. The engine outlives it.
class Ranker {
 public:
  // Throws Error{kUnsupported} for a model that can do neither, or whose head has other labels; Error{kUsage} for an
  // instruction that nobody reads.
  explicit Ranker(const Engine& engine, const RankOptions& options = {});

  // [CLS] query [SEP] document [SEP] of BERT and ModernBERT, <s> query </s></s> document </s> of the others; of a
  // yes/no model the conversation that Qwen3-Reranker's card publishes. `second_begins` is said where the model tells
  // the two apart. Throws Error{kUnsupported} for a tokenizer that does not begin and end texts.
  TextToRead pair(std::string_view query, std::string_view document) const;
  // Of the states of that text's tokens: larger is better; as a share, 1 / (1 + e^-score).
  float score(MatView<const float> states) const;

 private:
  void use_words(const std::string& instruction);

  const Engine& engine_;
  RankHead head_;
  bool answers_ = false;  // a yes/no model: the last token's state is scored
  std::vector<int32_t> before_, after_;
  std::string instruction_;
};

// The score of each of the documents, in their order. Throws as Ranker and read_texts().
std::vector<float> rank(const Engine& engine, std::string_view query, std::span<const std::string> documents,
                        const ReadingOptions& options, const RankOptions& how = {});

}  // namespace hunch
