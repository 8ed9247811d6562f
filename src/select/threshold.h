// Scores to selections: what lies above a threshold.
#pragma once
#include <span>

#include "base/rows.h"

namespace hunch {

// Selects the rows whose score is above `threshold`; how many they are differs from token to token, as the
// need does. NaN counts as above: a broken score shows in the output instead of hiding a neuron.
//
//   score  [n]
//   out    refilled; its n_total becomes n
//
// -infinity selects every row that has a score above it. Allocates nothing once `out` has held as many rows.
void select_above(std::span<const float> score, float threshold, Rows& out);

}  // namespace hunch
