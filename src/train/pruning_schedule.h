// Gradual pruning: how much is pruned at which step of a training.
#pragma once
#include <cstddef>

namespace hunch {

// Zhu and Gupta 2017, "To prune, or not to prune" (arXiv:1710.01878), equation 1: from `initial` to `final`, quickly
// while there is much to take away, then slowly. Masks change every `every` steps, n_changes times after the first.
struct PruningSchedule {
  double initial = 0, final = 0.5;  // shares of zeros
  size_t begin = 0, every = 100, n_changes = 10;
  double power = 3;
};

// The share of zeros at this step: 0 before `begin`, `final` from the last change on. Throws Error{kUsage} for shares
// that are not in [0, 1) or fall, a power that is not more than 0, `every` 0, or no change.
double scheduled_sparsity(const PruningSchedule& schedule, size_t step);
// Whether masks are made anew at this step.
bool changes_masks(const PruningSchedule& schedule, size_t step);

}  // namespace hunch
