// The rows that any token of a batch needs.
#pragma once
#include <span>

#include "base/rows.h"

namespace hunch {

// Selects every row that at least one of `selections` selects; all rows if one of them does.
//
//   selections  at least one, all of the same n_total
//   out         refilled; none of `selections`
//
// Allocates nothing once `out` has held as many rows.
void select_union(std::span<const Rows> selections, Rows& out);

}  // namespace hunch
