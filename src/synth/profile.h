// Densities of the layers of real models, to plant.
#pragma once
#include <cstddef>
#include <vector>

namespace hunch {

// Density of each of n_layer layers' MLPs as in OPT-6.7B, whose layers are stretched to this many; the first third
// is far sparser than the last. With `mean` > 0 the curve is scaled to that mean. Throws Error{kUsage} where that
// asks for more than 0.9 of a layer. From the neurons per layer that Polar Sparsity needs for 99 % recall at batch 1
// (arXiv:2505.14884, its published configuration).
std::vector<double> opt_density_profile(size_t n_layer, double mean = 0);

}  // namespace hunch
