// What a method offers in one layer: settings from dense to sparse, with the error of each at the block's output.
#pragma once
#include <array>
#include <vector>

#include "compress/block_probe.h"
#include "select/density_curve.h"

namespace hunch {

struct MethodFit {
  // A lower hull, in order of falling density, the first dense. Loss: the error.
  DensityCurve curve;
  std::vector<std::array<float, kNInputParts>> inputs;  // TEAL: of each point
};

// CATS: thresholds at percentiles of |act(gate)|. GRIFFIN: shares of the neurons. TEAL: the path of fit_teal.
// Densities from 1 down to about 0.05 (TEAL: 0.1).
MethodFit fit_method(BlockProbe& probe, const LayerConfig& config, Method method);

// Numbers of weights behind each part's input.
std::array<double, kNInputParts> part_sizes(const LayerConfig& config);

// TEAL's block-wise greedy allocation (Liu et al. 2024, algorithm 1): step by step, the part whose next 5 % of
// sparsity, scaled by the size of the largest part over its own, raises the block's error least; no part beyond 90 %.
// An error measured at an earlier step ranks the candidates, and is measured anew before a candidate is taken.
MethodFit fit_teal(BlockProbe& probe, const LayerConfig& config);

}  // namespace hunch
