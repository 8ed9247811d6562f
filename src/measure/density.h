// The computed share of neurons or heads.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/context.h"

namespace hunch {

// Mean over layers of active / all; 1 where nothing was counted. `per_layer`: the layers' own are added to it.
double mean_density(const std::vector<uint64_t>& active, const std::vector<uint64_t>& all,
                    std::vector<double>* per_layer = nullptr);
// Of the MLP's neurons, in contexts of these options. Dense meets zeros too, but computes with them.
double density_of(const ContextOptions& options, const StepStats& stats, std::vector<double>* per_layer = nullptr);

}  // namespace hunch
