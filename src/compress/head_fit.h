// Head predictors of one layer to choose from.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compress/head_trace.h"
#include "select/density_curve.h"
#include "select/predictor.h"

namespace hunch {

struct HeadCandidate {
  std::string name;  // "linear q8_0", "hot"
  std::shared_ptr<const Predictor> predictor;
  DensityCurve curve;  // lower hull; loss: mean over the tokens of the share of the squared contributions left out;
                       // recall: share of the groups that carry 90 % of a token's, smallest set, that are predicted
};

struct HeadFit {
  std::vector<HeadCandidate> candidates;  // none: every head is computed
  // Bytes of attention per token: what is read for the selected groups only, and what is always read.
  double selected_bytes = 0, always_bytes = 0;

  double all_bytes() const { return selected_bytes + always_bytes; }
  double bytes(const HeadCandidate& candidate, const CurvePoint& point) const {
    return double(candidate.predictor->bytes()) + selected_bytes * point.density + always_bytes;
  }
};

// Tokens of context whose keys and values a decoded token is taken to read, when bytes are weighed.
constexpr size_t kTypicalContext = 256;

// Fits to the trace's first n_train tokens and measures on the others. Candidates: the linear least-squares (ridge)
// estimate of each group's share of the token's squared contributions, and of the logarithm of that share, in closed
// form; and the same groups for every token. With lazy_keys W_k and W_v count among what is read for chosen groups
// only.
HeadFit fit_heads(const Engine& engine, const HeadTrace& trace, size_t n_train, bool lazy_keys = false);

}  // namespace hunch
