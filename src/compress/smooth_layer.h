// SmoothQuant in a layer: how much of its inputs' outliers moves into the weights that read a norm.
#pragma once
#include <optional>

#include "compress/awq_layer.h"
#include "compress/matrix/int8_matrix.h"

namespace hunch {

// Scales for q, k and v, and for gate and up, where a norm stands right before them and nobody else reads it: of the
// strength `alpha`, or of that of least error, each of the two for itself, when weights and inputs of a sample are
// rounded as `options` say; none where rounding them as they are is better (Xiao et al. 2022, arXiv:2211.10438, section
// 4). `moments` have samples. Throws Error{kInterrupted}.
LayerScaling search_smoothing(Compute& compute, const Layer& layer, const InputMoments& moments,
                              const Int8Options& options, std::optional<double> alpha);

// What was seen of inputs that are then divided.
InputMoment scaled_inputs(const LayerScaling& scaling, Role role, const InputMoment& moment);
Int8Inputs inputs_of(const InputMoment& moment);

// ||Y' - Y|| / ||Y|| of the products of the sample with W, and with W in 8 bits; 0 without a sample.
double int8_error(Compute& compute, const Matrix& W, const Int8Matrix& rounded, const Matrix& sample);

}  // namespace hunch
