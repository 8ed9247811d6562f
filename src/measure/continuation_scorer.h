// How probable a model finds a text after another, as lm-evaluation-harness asks.
#pragma once
#include <string>
#include <vector>

#include "engine/context.h"

namespace hunch {

struct ContinuationScore {
  double log_likelihood = 0;  // of its tokens, nats
  bool greedy = true;         // every one of them was the most probable
};

// A text and what is asked after it as ids, the first n_before of them the text's.
struct EncodedPair {
  std::vector<int32_t> ids;
  size_t n_before;
};
// Tokenised together, without BOS, so that no token straddles the border differently than in running text; spaces at
// the context's end belong to the continuation. At least one token stands before it.
EncodedPair encode_pair(const Tokenizer& tokenizer, const std::string& before, const std::string& continuation);

// The context that tasks have by default: the model's, at most 2048 tokens.
ContextOptions task_context(const Engine& engine, ContextOptions options);

// Keeps what a text has in common with the one before it: choices of one question, and the solved questions before all,
// are computed once.
class ContinuationScorer {
 public:
  // The engine outlives it. Throws as Context.
  ContinuationScorer(const Engine& engine, const ContextOptions& options);

  // Both as encode_pair() has them. What is too long loses its beginning. Throws Error{kLimit}
  // for a continuation longer than the context, Error{kNotFound} for a model without a tokenizer.
  ContinuationScore score(const std::string& before, const std::string& continuation);
  // Of ids of the vocabulary, of which the first n_before, at least one, are given. Throws the same, Error{kUsage}
  // where none follows them.
  ContinuationScore score(std::vector<int32_t> ids, size_t n_before);

  Context& context() { return context_; }

 private:
  const Engine& engine_;
  Context context_;
};

// Of two texts, the tokens that both begin with; at most `most`.
size_t n_common(std::span<const int32_t> a, std::span<const int32_t> b, size_t most);

}  // namespace hunch
