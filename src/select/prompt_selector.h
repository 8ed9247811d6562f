// The neurons that a prompt used most, for the whole answer: GRIFFIN.
#pragma once
#include "select/prompt_statistic.h"
#include "select/selector.h"

namespace hunch {

// kNeurons: of each sequence the ceil(density * n_ff) neurons with the largest statistic over its prompts, all of them
// after too short a prompt. Of a mixture's experts each has a statistic of its own, over the tokens that came to it.
// Source: Dong et al. 2024, "Prompt-prompted Adaptive Structured Pruning" (arXiv:2404.01365).
class PromptSelector final : public Selector {
 public:
  // Prompts of fewer tokens say too little.
  static constexpr size_t kMinTokens = 16;

  explicit PromptSelector(double density) : density_(density) {}
  void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const override;
  std::string_view kind() const override { return "prompt"; }
  std::unique_ptr<SelectorState> new_state() const override;
  void watch(Compute& compute, const Evidence& evidence) const override;
  Rows* settled(SelectorState* state, size_t n_total) const override;
  double density() const { return density_; }

 private:
  double density_;
};

// ceil(density * n), at least 1: of n rows, how many a density keeps.
size_t n_kept(double density, size_t n);

}  // namespace hunch
