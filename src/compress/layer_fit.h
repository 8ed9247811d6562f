// All predictors of one layer that are worth considering: of its MLP, or for each of its experts.
#pragma once
#include "compress/predictor_candidate.h"
#include "compress/sparsify.h"

namespace hunch {

struct LayerFit {
  size_t layer = 0;
  double active = 0;                           // share of the neurons that are not zero, on the calibration tokens
  std::vector<PredictorCandidate> candidates;  // none: the layer stays exact, `note` says why
  std::string note;
  std::vector<float> frequency;  // SidecarLayer::frequency; of a mixture's experts: none
  // Bytes of the MLPs per token: of all rows that are read before the zeros are known, and of those after.
  double first_bytes = 0, second_bytes = 0;
  double n_mlps = 1;         // that a token goes through
  bool skips_second = true;  // false where the down projection is read whole

  double exact_bytes() const { return first_bytes + second_bytes * (skips_second ? active : 1); }
  double bytes(const PredictorCandidate& candidate, const CurvePoint& point) const;
};

// `traces`: of the layer's MLP, or of each of its experts. Fits to each trace's first n_first tokens and measures on
// the others. Experts to which the text seldom comes have no predictor.
LayerFit fit_layer(const Engine& engine, std::span<const MlpTrace> traces, const SparsifyOptions& options,
                   const Progress& progress);

}  // namespace hunch
