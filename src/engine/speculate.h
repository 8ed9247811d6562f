// Speculative decoding that changes nothing but the speed (Leviathan et al. 2023, arXiv:2211.17192; drawn as in Daliri
// et al. 2024, arXiv:2408.07978).
//
// Drafters guess the next tokens, the model computes all of them in one pass, and as many are kept as it
// would have produced itself. Answers are token for token those of plain decoding: every token of that pass has the
// bits of a pass of its own (Run::as_alone), and what is random in a draw is bound to its position (Sampler::sample).
#pragma once
#include <memory>
#include <vector>

#include "engine/draft.h"

namespace hunch {

class Speculation {
 public:
  // `fixed` > 0: always draft that many tokens (at most kMaxDraftTokens); 0: as many as pays, or none.
  // Throws Error{kUsage} beyond that.
  explicit Speculation(size_t fixed = 0);
  ~Speculation();

  // Drafters are asked in the order in which they are added; the first that guesses anything is taken.
  void add(std::unique_ptr<Drafter> drafter);
  bool empty() const { return seats_.empty(); }

  // What generate() calls, in this order. Times in seconds.
  void begin(const SamplerOptions& options, std::span<const int32_t> text);
  // A draft of at most n_max tokens, valid until the next call; see Drafter::draft.
  const Draft& draft(std::span<const int32_t> text, size_t n_history, size_t n_max);
  // The pass over the newest token and the draft took this long and kept n_accepted drafted tokens.
  void verified(size_t n_accepted, double seconds);

  struct DrafterStats {
    const char* name;
    uint64_t n_drafted = 0, n_accepted = 0;
    double seconds = 0;
    uint64_t n_steps = 0, bytes = 0;  // forward passes for drafts, and what they read
  };
  // Since it was made.
  std::vector<DrafterStats> stats() const;
  uint64_t n_passes() const { return n_passes_; }  // of the target model after the prompts

 private:
  struct Seat {
    std::unique_ptr<Drafter> drafter;
    Pace pace;
    DrafterStats stats;
  };
  size_t fixed_;
  PassCosts costs_;
  std::vector<std::unique_ptr<Seat>> seats_;
  Seat* drafting_ = nullptr;  // whose draft this turn's is
  Draft draft_;
  uint64_t n_passes_ = 0, n_since_plain_ = 0;
};

}  // namespace hunch
