// What each token of a text activates in the model's layers, and what a plan chose for it.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   const hunch::Activations seen = hunch::activations(model, model.tokenize("The cat sat on the mat."));
//   for (const hunch::LayerActivations& layer : seen.layers) {
//     std::size_t n_zero = 0;
//     for (const std::uint16_t half : layer.activations) n_zero += (half & 0x7fff) == 0;  // no bit but the sign
//     std::cout << n_zero << " of " << layer.activations.size() << " are zero\n";
//   }
//
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hunch/cancel.h"
#include "hunch/model.h"

namespace hunch {

struct ActivationOptions {
  // Not said: the model's own (LoadOptions).
  std::optional<PlanChoice> plan = {};
  std::optional<std::string> kv_policy = {};
  std::optional<std::string> experts = {};
  std::optional<std::vector<LoraAdapter>> adapters = {};
  const Cancel* cancel = nullptr;  // ends the call with Error{kInterrupted}
};

// Row-major, a row for each token; empty where the layer has no such thing.
struct LayerActivations {
  std::size_t n_ff = 0, n_kv_head = 0, n_head = 0, n_expert = 0;  // of this layer; n_ff 0: a mixture's experts
  // [n_tokens, n_ff] What the down projection reads: act(gate) * up, or act(up). IEEE half precision, as bits.
  std::vector<std::uint16_t> activations = {};
  std::vector<std::uint8_t> neurons = {};  // [n_tokens, n_ff] 1: the down projection read it, 0: left out by the plan
  std::vector<std::uint8_t> head_groups = {};  // [n_tokens, n_kv_head] the same of groups of heads that share keys
  std::vector<float> head_norms = {};          // [n_tokens, n_head] length of the head's output, before W_o
  std::vector<float> router = {};              // [n_tokens, n_expert] logits of a mixture's gate
};

struct Activations {
  std::size_t n_tokens = 0;
  std::vector<LayerActivations> layers = {};
};

// Of a text from its beginning, every token as decoding would compute it. Throws Error{kUsage} for no tokens and for
// ids outside the vocabulary, Error{kLimit} where they do not fit into the positions that the model has, or would take
// more than 4 GB.
Activations activations(LanguageModel& model, std::span<const std::int32_t> ids, const ActivationOptions& options = {});

}  // namespace hunch
