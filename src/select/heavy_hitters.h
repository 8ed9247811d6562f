// Heavy hitters (H2O): the tokens that drew most attention so far, and the most recent ones, stay.
#pragma once
#include <optional>

#include "select/key_policy.h"

namespace hunch {

// Keeps the n_recent newest slots and, of the older ones, those with the largest accumulated attention. Without
// n_recent half of the budget (rounded up) is for the recent.
//
// Source: Zhang et al. 2023, "H2O: Heavy-Hitter Oracle" (arXiv:2306.14048), section 4.2 and algorithm 1. The published
// codes decide alike and differ in when a token goes:
//   - utils_real_drop (H2OKVCache_LayerWise) drops after each step all but heavy + recent slots, as here; the next
//   query
//     sees these and itself: heavy + recent + 1.
//   - utils_hh (attention masks) lets the next query see heavy + recent tokens, itself among the recent. The oldest
//   recent
//     slot, n_slots - n_recent, is hidden for that step unless it is one of the heavy ones; yet it keeps its score, and
//     is a candidate again at the next step. It is kept() here too: hide it in attention to reproduce that code.
//   - utils_hh takes its budgets as shares of the prompt's length, rounded down, once.
// Both sum over the batch and over all query rows of a step, so that early prompt tokens, which more queries see, weigh
// more; so do we.
class HeavyHitters final : public ClonedPolicy<HeavyHitters> {
 public:
  explicit HeavyHitters(std::optional<size_t> n_recent = {}) : n_recent_(n_recent) {}

  bool learns() const override { return true; }
  void observe(std::span<const float> column_sums) override { scores_.add(column_sums); }
  void keep(size_t n_slots, size_t budget, std::vector<uint32_t>& kept) const override;
  void compact(std::span<const uint32_t> kept) override { scores_.compact(kept); }
  void forget_last(size_t n) override { scores_.forget_last(n); }
  // Accumulated attention of each slot.
  std::span<const float> scores() const { return scores_.values(); }

 private:
  std::optional<size_t> n_recent_;
  SlotScores scores_;
};

}  // namespace hunch
