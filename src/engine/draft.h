// Who guesses the next tokens, so that the model can check several of them in one pass.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/pace.h"
#include "engine/sampler.h"

namespace hunch {

// Guessed tokens, one after the other.
struct Draft {
  std::vector<int32_t> ids;
  std::vector<uint8_t> evidence;  // [ids.size()] how sure the drafter was, as a bucket of its Pace
  size_t n_steps = 0;             // forward passes that it took
  double seconds = 0;

  void clear() {
    ids.clear();
    evidence.clear();
    n_steps = 0;
    seconds = 0;
  }
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual const char* name() const = 0;  // "n-gram", "draft model"
  // How often a guess of this evidence may be expected to be right before any was judged.
  virtual double prior(uint8_t evidence) const = 0;
  // Prepares for an answer with these options; called once before its first draft.
  virtual void begin(const SamplerOptions& options) {}
  // Reads a prompt ahead of the first draft.
  virtual void read(std::span<const int32_t> text) {}
  // Guesses at most `n_max` tokens that follow `text` (all that the target model has read, and its newest
  // token) into an empty `draft`; as many as `pace` finds worth their time, or none. Penalties look
  // back on the last `n_history` tokens of the text.
  virtual void draft(std::span<const int32_t> text, size_t n_history, size_t n_max, const Pace& pace, Draft& draft) = 0;
  // Weight and KV bytes that its forward passes have read since it was made.
  virtual uint64_t n_bytes() const { return 0; }
};

}  // namespace hunch
