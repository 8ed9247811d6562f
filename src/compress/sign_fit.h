// From sign differences to the odds that a neuron is active.
#pragma once
#include <memory>

#include "compress/predictor_candidate.h"
#include "select/sign_predictor.h"

namespace hunch {

// The predictor of one bit per weight of `first`, over the trace's first n_tokens tokens (at most 4096 of them, evenly
// spread). Given whether a neuron is active, its number of differing signs is taken for normal with the layer's
// deviation: the log-odds are then linear in it, with slope (mean when silent - mean when active) / variance (linear
// discriminant analysis). Neurons that were seldom active borrow the layer's mean gap. add_value() is part of the bias.
//
//   first  the MLP's first product: gate where gated, else up
std::shared_ptr<const Predictor> make_sign_predictor(Compute& compute, const Linear& first, const MlpTrace& trace,
                                                     size_t n_tokens, const NeuronStatistics& statistics);

}  // namespace hunch
