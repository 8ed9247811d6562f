// Text generation with a streaming callback.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   hunch::GenerationOptions options;
//   options.n_tokens = 64;
//   options.temperature = 0.7f;
//   options.seed = 7;
//   hunch::Generation result = hunch::generate(model, "Once upon a time", options, [](std::string_view piece) {
//     std::cout << piece << std::flush;
//     return true;  // false stops
//   });
//   std::cout << '\n' << result.tokens_per_s << " tokens/s\n";
//
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/model.h"

namespace hunch {

// Who guesses tokens that the model then checks several at a time: faster, and the answer is unchanged
// (greedy: token for token).
struct DraftOptions {
  // Verify what the sparse plan and n-grams draft: the speed of sparse mode, the answer of the whole model. Without a
  // sidecar only n-grams draft.
  bool lossless = false;
  bool ngram = false;              // what followed earlier endings like the present one
  LanguageModel* model = nullptr;  // a smaller model with the same vocabulary; it outlives the call
  std::size_t n_tokens = 0;        // that are drafted at a time; 0: as many as pays
};

// Steps run in this order: logit bias, penalties, temperature, top-k, typical, top-p, min-p, draw.
// The defaults sample from the model's own distribution; temperature 0 is greedy.
struct GenerationOptions {
  std::size_t n_tokens = 128;  // at most this many new tokens
  float temperature = 1.0f;
  std::int32_t top_k = 0;  // 0 = all
  float typical_p = 1.0f, top_p = 1.0f, min_p = 0.0f;
  float repeat_penalty = 1.0f, frequency_penalty = 0.0f, presence_penalty = 0.0f;
  std::int32_t penalty_last_n = 64;
  std::map<std::int32_t, float> logit_bias = {};
  std::uint64_t seed = 0;
  std::vector<std::string> stop = {};  // generation ends before the first of these
  bool ignore_end = false;             // go on past end-of-text tokens
  bool log_probs = true;  // fill Generation::log_probs; without, a greedy answer in sparse mode computes fewer logits
  std::size_t n_top_log_probs = 0;  // alternatives to report for each token; more than 0 wants log_probs
  // Plan, key policy, router and adapters: not said, those of the session, or of the model (LoadOptions). A session
  // keeps the key policy that it began with. No adapters: the model as it is.
  std::optional<PlanChoice> plan = {};
  std::optional<std::string> kv_policy = {};
  std::optional<std::string> experts = {};
  std::optional<std::vector<LoraAdapter>> adapters = {};
  DraftOptions drafts = {};        // not beside a key policy
  bool as_alone = false;           // the bits do not depend on who shares a batch's steps; slower prompts
  const Cancel* cancel = nullptr;  // ends the answer after the token in the making; what is there is kept
};

// A token that might have been.
struct TokenLogProb {
  std::int32_t id = 0;
  float log_prob = 0;
};

struct Generation {
  std::string text;
  std::vector<std::int32_t> ids;
  std::vector<float> log_probs;  // of the generated tokens, under the model's own distribution; empty where not wanted
  std::vector<std::vector<TokenLogProb>> top_log_probs;  // likewise the most probable ones, the best first
  std::size_t n_prompt = 0;
  std::string stop_reason;  // "length", "end_of_text", "stop_string", "context_full", "interrupted"
  double prompt_tokens_per_s = 0, tokens_per_s = 0;
  double gb_per_s = 0;  // bytes of weights and cache that generation touched per second
  double density = 1;   // share of MLP neurons that a plan chose, or that were not zero where it chooses none
  std::uint64_t n_drafted = 0, n_accepted = 0;  // tokens
};

// Sees text as soon as it is made of whole characters; returning false stops.
using OnText = std::function<bool(std::string_view piece)>;

// Starts from an empty context. Throws Error{kLimit} when the prompt does not fit, Error{kUsage} for a prompt without
// tokens, ids outside the vocabulary and options out of range, Error{kNotFound | kFormat} for a sidecar or an adapter
// that is missing or another model's, Error{kUnsupported} for drafts beside a key policy.
Generation generate(LanguageModel& model, std::string_view prompt, const GenerationOptions& options = {},
                    const OnText& on_text = {});
Generation generate(LanguageModel& model, std::span<const std::int32_t> prompt_ids,
                    const GenerationOptions& options = {}, const OnText& on_text = {});

}  // namespace hunch
