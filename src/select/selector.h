// Who says which rows matter. Asked at named points of a block; where nobody speaks, all of them do.
#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "base/compute.h"
#include "base/rows.h"
#include "base/view.h"

namespace hunch {

enum class Point : uint8_t {
  kInputs,      // what a projection reads: which entries of its input
  kHeads,       // groups of heads that share a key head, before attention
  kNeurons,     // of an MLP, before it is computed
  kLive,        // of an MLP, once the gate's (or, without a gate, the neurons') activations are known
  kKeys,        // of the past that is cached: select/key_selector.h
  kExperts,     // of a mixture, for each token: select/expert_selector.h
  kVocabulary,  // of the whole model, where only the largest logit is wanted: select/vocab_screen.h
};
constexpr size_t kNumPoints = 7;

// Groups of a layer's projections that share an input.
enum class InputPart : uint8_t {
  kAttention,  // q, k and v
  kHeads,      // o
  kMlp,        // gate and up
  kNeurons,    // down
};
constexpr size_t kNInputParts = 4;

// What a selector remembers of one sequence, beside what it was made with.
class SelectorState {
 public:
  virtual ~SelectorState() = default;
  // The sequence now ends at n_tokens: what came from later ones is forgotten.
  virtual void truncate(size_t n_tokens) = 0;
  // For a sequence that branches off; nullptr: the branch begins to remember anew, if it may branch at all.
  virtual std::unique_ptr<SelectorState> clone() const { return nullptr; }
};

struct Evidence {
  // [n_tokens, n]: the input of the projection (kInputs), the stream that the predictor reads (kHeads, kNeurons), or
  // the activations (kLive), of consecutive tokens of one run.
  MatView<const float> x;
  size_t n_rows = 0;  // to choose from
  size_t layer = 0;
  uint32_t expert = UINT32_MAX;            // of a mixture, whose MLP is asked about (LinearId); else the layer's own
  size_t first_token = 0;                  // place of the first of them in its run
  size_t first_position = 0;               // and in its sequence (watched tokens of an expert: the last one's, less
                                           // those before it, however far apart they are)
  bool as_alone = false;                   // the answer for a token may not depend on how many are asked about
  SelectorState* state = nullptr;          // of their sequence, where the selector has one
  class SelectorStates* states = nullptr;  // of all selectors of the sequence: for who asks others
};

// Immutable and shared: what changes with a sequence is in its state. Says nothing of prompts, which are computed
// whole; watch() shows them.
class Selector {
 public:
  virtual ~Selector() = default;

  // The rows of each token: out[t] is refilled.
  virtual void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const = 0;
  virtual std::string_view kind() const = 0;  // "relu", "predicted", "magnitude", "prompt", ...
  // Bytes that an answer reads, however many tokens it is for.
  virtual size_t bytes() const { return 0; }

  // Selectors that learn from a sequence have a state for each (else nullptr) ...
  virtual std::unique_ptr<SelectorState> new_state() const { return nullptr; }
  // ... and are shown the MLP's activations [n_tokens, n_ff], up included, of a prompt's tokens.
  virtual void watch(Compute& compute, const Evidence& evidence) const {}
  // The rows that every further token of the sequence will get of the layer's own MLP, where that is settled (else
  // nullptr): whoever computes may keep a copy of them under their name. Valid until the state changes.
  virtual Rows* settled(SelectorState* state, size_t n_total) const { return nullptr; }
};

}  // namespace hunch
