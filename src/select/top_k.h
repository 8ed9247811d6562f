// The oracle: the rows of largest magnitude, known only after computing all of them.
#pragma once
#include <span>

#include "base/rows.h"

namespace hunch {

// Selects the k rows with the largest |score|; among equals the lower ids. NaN is larger than infinity.
// All rows when k >= n.
//
//   score  [n]  e.g. the activations of the neurons, or the norms of the heads' outputs
//   out    refilled; its n_total becomes n
//
// Linear in n (a radix selection on the bits of |score|), deterministic, and allocates nothing once
// `out` has held k rows.
// Source: the contextual-sparsity oracle of Liu et al. 2023, "Deja Vu" (arXiv:2310.17157), section 3.1.
void select_top_k(std::span<const float> score, size_t k, Rows& out);

}  // namespace hunch
