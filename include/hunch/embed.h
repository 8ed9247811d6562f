// What the model makes of a text before it predicts: the last hidden state, one vector of it, and how well documents
// answer a query.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   const std::vector<float> cat = hunch::embed(model, "The cat sleeps."), dog = hunch::embed(model, "A dog naps.");
//   float cosine = 0;  // both have length 1
//   for (std::size_t i = 0; i < cat.size(); ++i) cosine += cat[i] * dog[i];
//   std::cout << "alike: " << cosine << '\n';
//
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/model.h"

namespace hunch {

struct HiddenStateOptions {
  std::optional<std::vector<LoraAdapter>> adapters = {};  // not said: the model's own (LoadOptions)
  const Cancel* cancel = nullptr;                         // ends the call with Error{kInterrupted}
};

// After the final norm, where the model has one: Hugging Face's last_hidden_state.
struct HiddenStates {
  std::size_t n_tokens = 0, n_embd = 0;
  std::vector<float> values = {};  // [n_tokens, n_embd], row-major
  std::span<const float> row(std::size_t token) const { return {values.data() + token * n_embd, n_embd}; }
};

// Of every position, read as a prompt is: by the whole model, whatever its plan, key policy and router. Throws
// Error{kLimit} when the ids do not fit into the context or into the positions that the model has learned,
// Error{kUsage} for ids outside the vocabulary.
HiddenStates hidden_states(LanguageModel& model, std::span<const std::int32_t> ids,
                           const HiddenStateOptions& options = {});

enum class Pooling : std::uint8_t {
  kMean,  // over all tokens
  kLast,  // the last token's, which has read all others
  kCls,   // the first token's: [CLS] of BERT
};

struct EmbeddingOptions {
  // Not said: as the model's file does (GGUF's pooling_type, sentence-transformers' 1_Pooling); where that is silent
  // the mean of models whose tokens see the whole text, the last token of the others.
  std::optional<Pooling> pooling = {};
  bool normalize = true;                                  // to length 1
  std::optional<std::vector<LoraAdapter>> adapters = {};  // as HiddenStateOptions
  const Cancel* cancel = nullptr;
};

// One vector [n_embd] for a text, with the tokens that begin and end one. Throws as hidden_states(), and Error{kUsage}
// for a text without tokens and for a model that scores pairs, where no pooling is said.
std::vector<float> embed(LanguageModel& model, std::string_view text, const EmbeddingOptions& options = {});
// The same for each of several texts, which share steps.
std::vector<std::vector<float>> embed_all(LanguageModel& model, std::span<const std::string> texts,
                                          const EmbeddingOptions& options = {});

// How well each document answers the query, in the documents' order: the output of the head of a cross-encoder
// (BertForSequenceClassification and the like with one label) as it is, or of a decoder that is called a reranker
// (Qwen3-Reranker) its logit of yes less that of no; larger is better. Throws as hidden_states(), and
// Error{kUnsupported} for a model that is neither.
std::vector<float> rerank(LanguageModel& model, std::string_view query, std::span<const std::string> documents,
                          const HiddenStateOptions& options = {});

}  // namespace hunch
