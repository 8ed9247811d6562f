// Logits, perplexity, and how likely one text is after another.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   hunch::Logits logits = hunch::logits(model, model.tokenize("The cat sat on the"));
//   std::cout << "logit of token 42 after the last word: " << logits.row(logits.n_tokens - 1)[42] << '\n';
//   hunch::TextPerplexity p = hunch::perplexity(model, "A long text. ...");
//   std::cout << "perplexity " << p.perplexity << " over " << p.n_tokens << " tokens\n";
//   hunch::LikelihoodScorer scorer(model);
//   std::cout << scorer.score("The cat sat on the", " mat").log_likelihood << " nats\n";
//
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/model.h"

namespace hunch {

struct LogitsOptions {
  // Not said: the model's own (LoadOptions).
  std::optional<PlanChoice> plan = {};
  std::optional<std::string> kv_policy = {};
  std::optional<std::string> experts = {};
  std::optional<std::vector<LoraAdapter>> adapters = {};
  const Cancel* cancel = nullptr;  // ends the call with Error{kInterrupted}
};

// Of every position, what the model says of the token after it: the natural logarithm of its probability, up to a
// number that all tokens of the position share.
struct Logits {
  std::size_t n_tokens = 0, n_vocab = 0;
  std::vector<float> values;  // [n_tokens, n_vocab], row-major
  // [n_vocab] after this token, in [0, n_tokens).
  std::span<const float> row(std::size_t token) const { return {values.data() + token * n_vocab, n_vocab}; }
};

// Logits of every position, each computed as decoding would. Throws Error{kLimit} when the ids do not fit into the
// context, Error{kUsage} for none.
Logits logits(LanguageModel& model, std::span<const std::int32_t> ids, const LogitsOptions& options = {});

struct TextPerplexityOptions {
  std::size_t n_ctx = 0;       // tokens per window; 0: the trained context, at most 2048
  std::size_t stride = 0;      // from a window's beginning to the next one's, tokens; 0: half of n_ctx
  std::size_t max_tokens = 0;  // score the first so many tokens; 0: all
  // The others as LogitsOptions.
  std::optional<PlanChoice> plan = {};
  std::optional<std::string> kv_policy = {};
  std::optional<std::string> experts = {};
  std::optional<std::vector<LoraAdapter>> adapters = {};
  const Cancel* cancel = nullptr;
};

struct TextPerplexity {
  double perplexity = 0, nll = 0;  // exp(nll / n_tokens); nll in nats, summed
  std::size_t n_tokens = 0;        // scored tokens: all but the first
};

// Sliding windows of `n_ctx` tokens that start every `stride` tokens; every token is scored once, with the longest
// context that its window gives.
TextPerplexity perplexity(LanguageModel& model, std::string_view text, const TextPerplexityOptions& options = {});

struct LikelihoodOptions {
  std::size_t n_ctx = 0;  // tokens; 0: LoadOptions::n_ctx, or the trained context, at most 2048
  // The others as LogitsOptions.
  std::optional<PlanChoice> plan = {};
  std::optional<std::string> kv_policy = {};
  std::optional<std::string> experts = {};
  std::optional<std::vector<LoraAdapter>> adapters = {};
  const Cancel* cancel = nullptr;
};

struct Likelihood {
  double log_likelihood = 0;  // of the continuation's tokens after what stands before them, nats, summed
  bool greedy = true;         // each of them was the most probable
};

// How likely texts are after others, by the rules of `hunch eval --task` and of lm-evaluation-harness. What a text has
// in common with the one before it is computed once: the choices of one question, the solved questions before all. One
// call at a time for all that belongs to a model. Keeps its model loaded.
class LikelihoodScorer {
 public:
  // Throws Error{kMemory} where the cache does not fit, Error{kLimit} for more tokens than the model has positions.
  explicit LikelihoodScorer(LanguageModel& model, const LikelihoodOptions& options = {});
  ~LikelihoodScorer();
  LikelihoodScorer(LikelihoodScorer&&) noexcept;
  LikelihoodScorer& operator=(LikelihoodScorer&&) noexcept;

  // Both are tokenised together, without BOS; spaces at the end of `before` belong to the continuation. Where nothing
  // is before it BOS is, or the end of text of models without one. What is too long loses its beginning. Throws
  // Error{kUsage} for a continuation without tokens, Error{kLimit} for one that does not fit into the context.
  Likelihood score(std::string_view before, std::string_view continuation);
  // The same of ids, at least one of each. Throws Error{kUsage} for ids outside the vocabulary too.
  Likelihood score(std::span<const std::int32_t> before, std::span<const std::int32_t> continuation);
  std::size_t n_ctx() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hunch
