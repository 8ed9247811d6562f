// What the model makes of a text before it predicts: the last hidden state.
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
// Error{kLimit} when the ids do not fit into the context, Error{kUsage} for ids outside the vocabulary.
HiddenStates hidden_states(LanguageModel& model, std::span<const std::int32_t> ids,
                           const HiddenStateOptions& options = {});

enum class Pooling : std::uint8_t {
  kMean,  // over all tokens
  kLast,  // the last token's, which has read all others
};

struct EmbeddingOptions {
  Pooling pooling = Pooling::kMean;
  bool normalize = true;                                  // to length 1
  std::optional<std::vector<LoraAdapter>> adapters = {};  // as HiddenStateOptions
  const Cancel* cancel = nullptr;
};

// One vector [n_embd] for a text. Throws as hidden_states(), and Error{kUsage} for a text without tokens.
std::vector<float> embed(LanguageModel& model, std::string_view text, const EmbeddingOptions& options = {});

}  // namespace hunch
