// Which weights to prune, by a score of each: magnitude, Wanda, and whoever has another.
#pragma once
#include <cstdint>
#include <vector>

#include "compress/linear_algebra.h"

namespace hunch {

// How much of a matrix goes.
struct Sparsity {
  double share = 0.5;        // of the weights; not asked where m is given
  size_t pruned = 0, m = 0;  // of every m neighbouring inputs of a row so many; m 0: no pattern
};

using Mask = std::vector<uint8_t>;  // [n_out * n_in], 1: pruned

// |W|: Han et al. 2015, "Learning both Weights and Connections".
Matrix magnitude_score(const Matrix& W);
// |W[r, c]| * ||X[:, c]||, from the sums of squares of each input [n_in], up to a common factor: Sun et al. 2023, "A
// Simple and Effective Pruning Approach for LLMs" (Wanda, arXiv:2306.11695, section 3).
Matrix wanda_score(const Matrix& W, const std::vector<float>& squares);

// The lowest scores of every row: int(n_in * share) of them, the first ones where scores are equal.
Mask prune_rows(const Matrix& score, double share);
// What does not exceed the score that int(n * share) of all n are below: one more than that, where no two are equal.
Mask prune_matrix(const Matrix& score, double share);
// The `pruned` lowest of every m neighbours in a row. Throws Error{kUsage} unless 0 < pruned < m and m divides n_in.
Mask prune_pattern(const Matrix& score, size_t pruned, size_t m);
// Of every row the lowest scores that together are a share alpha of the row's; alpha, at most 0.8, is what prunes
// `share` of the whole matrix, to a thousandth (Wanda's variant: prune.py, use_variant).
Mask prune_by_mass(const Matrix& score, double share);

// Zeros where the mask is 1.
void apply_mask(const Mask& mask, Matrix& W);
void check_pattern(size_t pruned, size_t m, size_t n_in);

}  // namespace hunch
