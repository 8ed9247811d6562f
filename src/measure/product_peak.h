// How fast this machine multiplies a model's own matrices: the other yardstick beside MachineSpeed.
#pragma once
#include "engine/engine.h"

namespace hunch {

struct ProductPeak {
  double flops_per_s = 0;
  size_t n_out = 0, n_in = 0;  // of the matrices
};

// Multiplies 256 tokens by matrices of the layers, of the shape that holds most weights (down projections left out:
// they may be stored by neuron), on all threads: the median of several rounds after a first, about half a second in
// all. The copies that prompts are multiplied with are made of these first (Layouts::interleave).
ProductPeak measure_product_peak(const Engine& engine);

}  // namespace hunch
