// Transformer-XL's positions: how far a key is behind.
#pragma once
#include "base/compute.h"
#include "model/config.h"
#include "model/ops.h"

namespace hunch {

// W_r R of distances 0, 1, ..., n_distances(c) - 1, [n, n_head * d_head]: R is [sin(distance w_i), cos(distance w_i)],
// w_i = 10000^(-2i / n_embd) (Dai et al. 2019, section 3.3).
//
//   W_r  [n_head * d_head, n_embd]
Vector distance_rows(Compute& compute, const LayerConfig& c, std::span<const float> W_r);

// Distances that differ, as far as a query of the layer sees.
size_t n_distances(const LayerConfig& c);

}  // namespace hunch
