// The API's options as the engine's, and the engine's answers as the API's.
#pragma once
#include <vector>

#include "engine/drafting.h"
#include "hunch/generate.h"

namespace hunch {

// All but who drafts. Throws Error{kUsage} for an empty text in `stop`.
GenerateOptions generate_options(const GenerationOptions& options);

// The draft model shares its engine with the result. Throws Error{kUsage} for n_tokens
// without anybody who drafts, and for a model that is to draft for itself.
DraftingOptions drafting_options(const DraftOptions& options, const Engine& engine);

// Tokens that were drafted, and those that the model would have chosen itself.
struct DraftCount {
  uint64_t n_drafted = 0, n_accepted = 0;
  DraftCount operator-(const DraftCount& before) const {
    return {n_drafted - before.n_drafted, n_accepted - before.n_accepted};
  }
};
DraftCount drafts_of(const Speculation* speculation);  // nullptr: none

// What an answer shows while it is made. The options and the callback outlive it.
class AnswerRecord {
 public:
  AnswerRecord(const GenerationOptions& options, const OnText& on_text) : options_(options), on_text_(on_text) {}
  // The next token; false stops.
  bool take(const GeneratedToken& token);
  // The answer, when it is done.
  Generation generation(const Generated& generated, const DraftCount& drafts);

 private:
  const GenerationOptions& options_;
  const OnText& on_text_;
  std::vector<float> log_probs_;
  std::vector<std::vector<TokenLogProb>> top_log_probs_;
};

}  // namespace hunch
