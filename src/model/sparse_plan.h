// What sparse mode does in each layer: which predictor, on which input, above which threshold; or which method that
// needs no predictor.
#pragma once
#include <vector>

#include "kernels/column_blocks.h"
#include "model/smooth_plan.h"
#include "select/predictor.h"
#include "select/vocab_screen.h"

namespace hunch {

// What an MLP's predictor reads.
enum class PredictorInput : uint8_t {
  kMlp,        // what the MLP itself reads
  kAttention,  // what attention of the same layer reads: known before attention is computed (look-ahead)
};

// What a head predictor reads.
enum class HeadInput : uint8_t {
  kAttention,          // what attention of the same layer reads
  kPreviousAttention,  // what attention of the layer before reads: known a whole layer earlier (look-ahead)
};

// Which heads of attention are computed. Heads are chosen by groups: the n_head / n_kv_head query heads that share a
// KV head come and go together.
struct HeadPlan {
  const NeuronPredictor* groups = nullptr;  // scores the n_kv_head groups; none: every head is computed
  HeadInput input = HeadInput::kAttention;
  float threshold = 0;  // groups that score above it are computed
  // W_o with the columns of each group together, where someone made that copy; else W_o is cut where it lies.
  ColumnBlocks W_o;
};

struct LayerPlan {
  const NeuronPredictor* neurons = nullptr;  // none: the layer is computed as in exact mode
  PredictorInput input = PredictorInput::kMlp;
  float threshold = 0;  // neurons that score above it are computed
  HeadPlan heads;
  SmoothLayerPlan smooth;  // instead of a predictor
};

// Points to predictors that someone else owns (a sidecar, or whoever is fitting them).
struct SparsePlan {
  std::vector<LayerPlan> layers;  // [n_layer]
  // Keys and values of heads that a token leaves out are computed only when a later token chooses the head, all that
  // are missing at once. Otherwise they are computed with their token.
  bool lazy_keys = false;

  bool uses(SmoothMethod method) const {
    for (const LayerPlan& l : layers)
      if (l.smooth.method == method) return true;
    return false;
  }
  const VocabScreen* screen = nullptr;  // guesses the logits, of which the likely best are then computed; none: all are
};

}  // namespace hunch
