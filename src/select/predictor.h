// What guesses, before it is computed, which neurons of an MLP will matter.
#pragma once
#include <cstddef>
#include <string_view>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "base/view.h"
#include "kernels/matmul.h"

namespace hunch {

// Buffers of a prediction; kept by the caller, so that predictors are immutable and shared.
// Scores n_ff neurons from an input vector. Knows nothing of models: whoever uses it decides what the input
// is, and keeps to what the predictor was fitted on. Owns its small vectors; matrices are views into what
// the maker keeps alive. Immutable: any number of threads may hold it, each with its own scratch.
class NeuronPredictor {
 public:
  virtual ~NeuronPredictor() = default;

  // The larger the score of a neuron, the more its computation is expected to be worth. Scores compare
  // between the neurons of one layer; select_above() turns them into a Rows.
  //
  //   X       [n_tokens, n_in]
  //   scores  [n_tokens, n_ff]  written; may not overlap X
  virtual void score(Compute& compute, MatView<const float> X, MatView<float> scores) const = 0;

  virtual std::string_view kind() const = 0;  // "lowrank", "hot", ...
  virtual size_t n_in() const = 0;
  virtual size_t n_ff() const = 0;
  // Bytes that one prediction reads, however many tokens it is for.
  virtual size_t bytes() const = 0;
};

}  // namespace hunch
