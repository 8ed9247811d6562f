// Drafts that cost nothing: what followed the last time that the text ended like this.
// Idea: prompt lookup decoding (Saxena 2023); Yang et al. 2023, "Inference with Reference" (arXiv:2304.04487).
#pragma once
#include <unordered_map>

#include "engine/draft.h"

namespace hunch {

class NgramDrafter : public Drafter {
 public:
  // The shortest ending that is looked up, and the longest that tells endings apart, in tokens.
  static constexpr size_t kShortest = 2, kLongest = 9;

  const char* name() const override { return "n-gram"; }
  double prior(uint8_t evidence) const override { return 0.3 + 0.07 * evidence; }
  // Drafts the tokens after the occurrence with the longest common ending, the latest among equals; where they
  // reach the end of the text, it is taken to go round.
  // Evidence is the length of that ending.
  void draft(std::span<const int32_t> text, size_t n_history, size_t n_max, const Pace& pace, Draft& draft) override;

 private:
  void index(std::span<const int32_t> text);

  std::vector<int32_t> text_;  // what is indexed
  // Pair of tokens -> positions after it, ascending.
  std::unordered_map<uint64_t, std::vector<uint32_t>> after_;
};

}  // namespace hunch
