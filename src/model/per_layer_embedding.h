// Embeddings of tokens for each layer, beside the one that enters the first (Gemma 3n, Gemma 4).
#pragma once
#include <memory>

#include "formats/weight_view.h"
#include "linear/linear.h"
#include "model/ops.h"

namespace hunch {

class Step;

// What a model has of it: from a token's id and from its embedding, n values for every layer.
struct PerLayerEmbedding {
  size_t n = 0;                     // values for a layer; 0: the model has none
  WeightView table;                 // [ids, n_layer * n], times sqrt(n); an id beyond it counts as 0
  std::unique_ptr<Linear> project;  // [n_layer * n, n_embd]
  NormWeights norm;                 // [n], of each layer's part of the projection

  // y = (table[id] + norm(project(embedding) / sqrt(n_embd))) / sqrt(2), for the step's tokens.
  //
  //   embedding [n_tokens, n_embd], as it enters the first layer   y [n_tokens, n_layer * n], written
  // Source: get_per_layer_inputs() and project_per_layer_inputs() of Hugging Face's modeling_gemma3n.py.
  void operator()(Step& s, const ModelConfig& c, MatView<const float> embedding, MatView<float> y) const;
};

// What a layer makes of its part.
struct PerLayerInput {
  std::unique_ptr<Linear> gate, project;  // [n, n_embd], [n_embd, n]; none: the layer has none
  NormWeights norm;                       // [n_embd]

  // y = norm(project(act(gate(x)) * part)).
  //
  //   x [n_tokens, n_embd]   y the same, written; may be x
  void operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const;

  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&gate, &project})
      if (*linear) each(*linear);
  }
};

}  // namespace hunch
