// Products that share their input, in one loop over the rows of all: Q, K and V; gate and up.
#pragma once
#include <span>

#include "linear/linear.h"

namespace hunch {

struct Product {
  const Linear* linear;
  MatView<float> Y;  // [n_tokens, linear->n_out], written
};

// Linear::dot() of every product with all rows. X is prepared once.
void dot_together(Compute& compute, Tokens tokens, MatView<const float> X, std::span<const Product> products);

// A part of a product: rows [first_row, first_row + Y.cols) with the tokens [first_token, first_token + Y.rows) of X.
struct PartialProduct {
  const Linear* linear;
  size_t first_row, first_token;
  MatView<float> Y;
};

// Products of a few tokens in which every matrix takes rows and tokens of its own. Every token has the bits of a call
// with this token alone. `tokens` are those of X.
void dot_parts(Compute& compute, Tokens tokens, MatView<const float> X, std::span<const PartialProduct> parts);

}  // namespace hunch
