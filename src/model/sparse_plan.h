// What sparse mode does in each layer: which predictor, on which input, above which threshold.
#pragma once
#include <vector>

#include "select/predictor.h"

namespace hunch {

// What an MLP's predictor reads.
enum class PredictorInput : uint8_t {
  kMlp,        // what the MLP itself reads
  kAttention,  // what attention of the same layer reads: known before attention is computed (look-ahead)
};

struct LayerPlan {
  const NeuronPredictor* neurons = nullptr;  // none: the layer is computed as in exact mode
  PredictorInput input = PredictorInput::kMlp;
  float threshold = 0;  // neurons that score above it are computed
};

// Points to predictors that someone else owns (a sidecar, or whoever is fitting them).
struct SparsePlan {
  std::vector<LayerPlan> layers;  // [n_layer]
};

}  // namespace hunch
