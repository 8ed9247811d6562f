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
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/model.h"

namespace hunch {

// Steps run in this order: logit bias, penalties, temperature, top-k, typical, top-p, min-p, draw.
// The defaults sample from the model's own distribution; temperature 0 is greedy.
struct GenerationOptions {
  std::size_t n_tokens = 128;  // at most this many new tokens
  float temperature = 1.0f;
  std::int32_t top_k = 0;  // 0 = all
  float typical_p = 1.0f, top_p = 1.0f, min_p = 0.0f;
  float repeat_penalty = 1.0f, frequency_penalty = 0.0f, presence_penalty = 0.0f;
  std::int32_t penalty_last_n = 64;
  std::map<std::int32_t, float> logit_bias;
  std::uint64_t seed = 0;
  std::vector<std::string> stop;  // generation ends before the first of these
  bool ignore_end = false;        // go on past end-of-text tokens
  bool log_probs = true;  // fill Generation::log_probs; without, a greedy answer in sparse mode computes fewer logits
};

struct Generation {
  std::string text;
  std::vector<std::int32_t> ids;
  std::vector<float> log_probs;  // of the generated tokens, under the model's own distribution; empty where not wanted
  std::size_t n_prompt = 0;
  std::string stop_reason;  // "length", "end_of_text", "stop_string", "context_full", "interrupted"
  double prompt_tokens_per_s = 0, tokens_per_s = 0;
  double gb_per_s = 0;  // bytes of weights and cache that generation touched per second
  double density = 1;   // share of MLP neurons that were computed, mean over layers
};

// Sees text as soon as it is made of whole characters; returning false stops.
using OnText = std::function<bool(std::string_view piece)>;

// Starts from an empty context. Throws Error{kLimit} when the prompt does not fit, Error{kUsage} for
// options out of range.
Generation generate(LanguageModel& model, std::string_view prompt, const GenerationOptions& options = {},
                    const OnText& on_text = {});
Generation generate(LanguageModel& model, std::span<const std::int32_t> prompt_ids,
                    const GenerationOptions& options = {}, const OnText& on_text = {});

}  // namespace hunch
