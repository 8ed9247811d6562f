// Where adapters of a rounded model begin: with what rounding lost.
#pragma once
#include "train/network.h"

namespace hunch {

// Makes scale * B A of every low-rank adapter the matrix of its rank that is nearest to W of `original` less the
// model's own W (LoftQ: Li et al. 2023, arXiv:2310.08659, algorithm 1 with one step; `hunch compress --method loftq`
// takes turns), by subspace iteration from random directions of `seed`. DoRA's magnitudes become the sums' lengths.
// Throws Error{kUsage} where there is no adapter of low rank, Error{kUnsupported} naming a matrix that the original
// does not have in this shape.
void begin_with_difference(Network& network, const Model& original, uint64_t seed);

}  // namespace hunch
