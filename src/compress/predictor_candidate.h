// Predictors of one layer to choose from, each with what it costs and what it gives.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compress/low_rank_fit.h"
#include "select/density_curve.h"
#include "select/predictor.h"

namespace hunch {

struct PredictorCandidate {
  std::string name;  // "lowrank 64 q8_0"
  std::shared_ptr<const Predictor> predictor;
  DensityCurve curve;  // lower hull; loss: share of the summed squared contributions that is left out
};

// What a layer's neurons did on some tokens of a trace.
struct NeuronStatistics {
  std::vector<float> frequency;  // [n_ff] share of the tokens with a contribution
  std::vector<float> value;      // [n_ff] mean squared contribution over all tokens
  double density = 0;            // mean frequency
  // What scores are relative to: the mean of `value`, and of value / frequency. Of experts those of all in their layer.
  double mean_value = 0, mean_when_active = 0;
};
NeuronStatistics neuron_statistics(const MlpTrace& trace, size_t n_tokens);

// Adds to each neuron's score the logarithm of what it contributes on average when it contributes (relative to the
// layer): from "how probable" to "how much is it worth", so that one threshold weighs neurons against each other.
void add_value(const NeuronStatistics& statistics, std::span<float> bias);

// The fit with its matrices in `dtype`, in memory of its own. Where rows are not whole blocks: f16.
std::shared_ptr<const Predictor> make_low_rank(const LowRankFit& fit, DType dtype, bool relu);
// Scores by mean squared contribution.
std::shared_ptr<const Predictor> make_hot_set(const NeuronStatistics& statistics, size_t n_in);

// A predictor and the trace's tokens [first, n_tokens) to try it on; nullptr: every neuron is computed.
struct Trial {
  const Predictor* predictor;
  const MlpTrace* trace;
  size_t first;
};
// What thresholds on the predictors' scores give, together: of a layer's MLP, or of all its experts.
DensityCurve measure_curve(Compute& compute, std::span<const Trial> trials);

}  // namespace hunch
