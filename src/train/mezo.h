// MeZO (Malladi et al. 2023, arXiv:2305.17333): the gradient along one random direction, from two forward passes, in
// the memory of inference.
#pragma once
#include <functional>

#include "base/compute.h"
#include "train/parameters.h"

namespace hunch {

// Fills z with the direction's values [first, first + z.size()) of a parameter; called by several threads at once.
using Direction = std::function<void(const Parameter& parameter, size_t first, std::span<float> z)>;

// Standard normal values of `seed`: the same whenever they are asked for, so that nobody has to keep them.
Direction normal_direction(uint64_t seed);

// value += scale * z, of all parameters.
void perturb(Compute& compute, Parameters& parameters, const Direction& z, float scale);

// (loss(+eps z) - loss(-eps z)) / (2 eps); the parameters are afterwards what they were, to rounding. `mean_loss` is
// the mean of the two.
double projected_gradient(Compute& compute, Parameters& parameters, const Direction& z, float eps,
                          const std::function<double()>& loss, double* mean_loss);

// value -= learning_rate * (gradient * z + weight_decay * value), without decay of parameters that do not.
void step_along(Compute& compute, Parameters& parameters, const Direction& z, double gradient, float learning_rate,
                float weight_decay);

}  // namespace hunch
