// How much to draft: measured costs against measured acceptance.
//
// With acceptance a per token, a pass over g drafted tokens yields (1 - a^(g+1)) / (1 - a) tokens on average
// (Leviathan et al. 2023, arXiv:2211.17192, equation 1) and takes g draft steps and one pass over g + 1 tokens.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace hunch {

constexpr size_t kMaxDraftTokens = 16;

// Seconds that the target model takes for a pass over n tokens, as measured so far.
class PassCosts {
 public:
  void observe(size_t n_tokens, double seconds);
  // Measured, or interpolated between what was; 0 while nothing was measured.
  double seconds(size_t n_tokens) const;
  // What one token more adds to a pass over n.
  double one_more(size_t n) const { return std::max(0.0, seconds(n + 1) - seconds(n)); }
  bool knows_single() const { return mean_[1] > 0; }

 private:
  std::array<double, kMaxDraftTokens + 2> mean_{};  // [n_tokens], 0: not measured
};

// One drafter's record. Evidence is what a drafter knows beforehand about a guess (how long the repeated
// ending is, how probable its best token): tokens of equal evidence share an acceptance rate.
class Pace {
 public:
  static constexpr size_t kLevels = 10;  // levels of evidence: 0 .. 9
  static constexpr size_t kTrialTokens = 3;
  static constexpr uint8_t kUnknown = kLevels;  // none: the mean of all

  // `fixed` > 0: always that many tokens, whatever they cost. `prior(level)`: acceptance believed at first.
  // `costs` is shared by all drafters of one target, and must outlive this.
  template <class Prior>
  Pace(const PassCosts& costs, size_t fixed, Prior&& prior) : costs_(costs), fixed_(fixed) {
    for (size_t i = 0; i < kLevels; ++i) prior_[i] = prior(i);
    rates_[kUnknown] = {kBelief * 0.75, kBelief};
  }

  // Of an evidence that was seldom judged: between what was believed at first and what the others turned out to be.
  double acceptance(uint8_t evidence) const;
  // The number of tokens, at most n_max, that gives the most tokens per second; 0 where plain decoding does.
  // Now and then a few although it says 0, since texts change.
  size_t n_worth_drafting(uint8_t evidence, size_t n_max) const;
  // Whether the next draft is to find out what a drafter that takes steps is worth, as the first few and those after a
  // rest are: of kTrialTokens, whatever the two below think of them.
  bool on_trial(size_t n_max) const;
  // Is a token worth its place in the pass behind n_drafted others, when it and all of them are accepted
  // with probability `reach`? And is it worth one more draft step to look for another?
  bool worth_verifying(double reach, size_t n_drafted) const;
  bool worth_another_step(double reach, size_t n_drafted) const;

  // A turn of decoding passed without this drafter.
  void rest() { ++n_resting_; }
  void judge(uint8_t evidence, bool accepted);
  // A turn with this drafter: its steps, and what came of the turn as a whole.
  void turn(size_t n_steps, double draft_seconds, double seconds, size_t n_tokens);

 private:
  struct Rate {
    double accepted = 0, judged = 0;  // with old judgements fading
  };
  size_t best(double acceptance, size_t n_max) const;
  size_t n_estimated(uint8_t evidence, size_t n_max) const;
  double seconds_per_token() const;

  const PassCosts& costs_;
  size_t fixed_;
  static constexpr double kBelief = 4;   // judgements that a belief counts for
  std::array<Rate, kLevels + 1> rates_;  // of kUnknown: with its belief
  std::array<double, kLevels> prior_;
  double step_seconds_ = 0;                        // of one draft step
  double turn_seconds_ = 0, turn_tokens_ = 0;      // of turns with this drafter, old ones fading
  size_t n_draft_turns_ = 0;                       // with at least one draft step
  size_t n_turns_ = 0, n_resting_ = 0, rest_ = 8;  // after `rest_` turns without it, it is tried again
};

}  // namespace hunch
