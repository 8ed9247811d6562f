// A block's projections of one input, of which a token may have only some entries and want only some outputs.
#pragma once
#include <span>

#include "linear/linear.h"
#include "linear/together.h"

namespace hunch {

// Every product with all of its rows.
//
//   X [n_tokens, n_in]   inputs: what each token has of X, else all
void project(Compute& compute, Tokens tokens, MatView<const float> X, RowSet inputs, std::span<const Product> products);

// One product with the rows that each token wants; the others are 0.
void project(Compute& compute, Tokens tokens, MatView<const float> X, RowSet inputs, const Linear& linear, RowSet out,
             MatView<float> Y);

}  // namespace hunch
