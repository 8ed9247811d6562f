// All predictors of one layer that are worth considering.
#pragma once
#include "compress/predictor_candidate.h"
#include "compress/sparsify.h"

namespace hunch {

struct LayerFit {
  size_t layer = 0;
  double active = 0;                           // share of the neurons that are not zero, on the calibration tokens
  std::vector<PredictorCandidate> candidates;  // none: the layer stays exact, `note` says why
  std::string note;
  // Bytes of the MLP per token: of all rows that are read before the zeros are known, and of those after.
  double first_bytes = 0, second_bytes = 0;
  bool skips_second = true;  // false where the down projection is read whole

  double exact_bytes() const { return first_bytes + second_bytes * (skips_second ? active : 1); }
  double bytes(const PredictorCandidate& candidate, const CurvePoint& point) const;
};

// Fits to the trace's first n_train tokens and measures on the others.
LayerFit fit_layer(const Engine& engine, const MlpTrace& trace, size_t n_train, const SparsifyOptions& options,
                   const Progress& progress);

}  // namespace hunch
