// Values to selections: what is too large to leave out.
#pragma once
#include <span>

#include "base/rows.h"

namespace hunch {

// Selects the entries with |x| > threshold. NaN counts as above: a broken value shows in the output.
//
//   x    [n]  inputs of a projection (TEAL), or activations of a gate (CATS)
//   out  refilled; its n_total becomes n
//
// A threshold below 0 selects everything, infinity nothing but NaN. Allocates nothing once `out` has held as many rows.
// Sources: Liu et al. 2024, "Training-Free Activation Sparsity" (arXiv:2408.14690), section 4; Lee et al. 2024, "CATS"
// (arXiv:2404.08763), section 3.1.
void select_magnitude(std::span<const float> x, float threshold, Rows& out);

}  // namespace hunch
