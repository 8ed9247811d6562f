// The tensors of a synthetic model as functions from a row's number to its values.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "synth/synth.h"

namespace hunch {

struct SynthTensor {
  std::string name;
  std::vector<uint64_t> shape;
  // Writes one row; called from any thread.
  std::function<void(size_t row, std::span<float> out)> fill;

  size_t n_rows() const {  // of all matrices in it; a vector is a row
    size_t n = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) n *= shape[i];
    return n;
  }
};

// Weights scaled so that the residual stream keeps its norm (each branch adds little to it), pre-activations
// have deviation 1, and logits deviation 2. With options.planting, also the structure that docs/synth.md
// describes. The functions share what they need; `options` need not outlive them. Throws Error{kUsage} for
// planting that the shape has no room for.
std::vector<SynthTensor> synth_tensors(const SynthOptions& options);

}  // namespace hunch
