// The rows of the tensors in which contextual sparsity is planted. All functions are const and may be called from
// any thread; `stream` is the squared norm of the residual stream at that place, relative to the embedding's.
#pragma once
#include <span>
#include <string>

#include "synth/plant.h"

namespace hunch {

constexpr float kLogitDeviation = 2.0f;

class PlantedRows {
 public:
  // Throws Error{kUsage} naming what does not fit: densities, contexts for this width or vocabulary, a margin.
  explicit PlantedRows(const SynthOptions& options);

  // Context, constant and token parts, with the energies of synth_plant.h.
  void embedding(size_t token, std::span<float> out) const;
  // Logits of words of the context far above the others', the successor of the last token planting.next_token_margin
  // above the best rival; what is no word is never probable.
  void output(size_t token, double stream, std::span<float> out) const;
  // Queries and keys of equal contexts meet. `n_sharing` heads share one key head's pattern.
  void key(size_t layer, const std::string& name, size_t row, size_t n_sharing, double stream,
           std::span<float> out) const;
  // Values are near zero outside the contexts of their head.
  void value(const ContextSets& heads, const std::string& name, size_t row, double stream, std::span<float> out) const;
  void neuron(const PlantedMlp& mlp, const std::string& name, size_t row, std::span<float> out) const;

  ContextSets heads(size_t layer) const;
  PlantedMlp mlp(size_t layer, double stream) const;
  // Of an expert with n_ff neurons.
  PlantedMlp expert(size_t layer, size_t expert, size_t n_ff, double stream) const;

 private:
  SynthOptions o_;
  SynthDirections directions_;
  SynthTokens tokens_;
};

}  // namespace hunch
