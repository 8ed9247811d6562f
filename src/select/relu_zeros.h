// The exact selector: neurons that ReLU did not set to zero.
#pragma once
#include <span>

#include "base/rows.h"

namespace hunch {

// Selects the neurons whose activation is not zero; the rows left out would add nothing to the down
// projection, so that computing only these is exact. -0 counts as zero, NaN as nonzero: it must show.
//
//   ff_act  [n_ff]  after the activation (and the gate)
//   out     refilled; its n_total becomes n_ff
//
// Allocates nothing once `out` has held as many rows.
// Source: the sparsity of ReLU MLPs, Li et al. 2023, "The Lazy Neuron Phenomenon" (arXiv:2210.06313).
void select_nonzero(std::span<const float> ff_act, Rows& out);

}  // namespace hunch
