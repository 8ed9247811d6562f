// TEAL's block-wise greedy allocation (Liu et al. 2024, arXiv:2408.14690, algorithm 1).
#pragma once
#include <array>

#include "compress/method.h"
#include "model/families.h"

namespace hunch {

// Numbers of weights behind each part's input that a token reads: of a mixture those of its experts.
std::array<double, kNInputParts> part_sizes(const LayerConfig& config);

// Step by step, the part whose next 5 % of sparsity, scaled by the size of the largest part over its own, raises the
// block's error least; no part beyond 90 %. An error measured at an earlier step ranks the candidates, and is measured
// anew before a candidate is taken. `inputs`: of each point of the curve.
struct TealFit {
  DensityCurve curve;
  std::vector<Teal::Inputs> inputs;
};
TealFit fit_teal(BlockProbe& probe, const LayerConfig& config);

}  // namespace hunch
