#include "measure/density.h"

namespace hunch {

double mean_density(const std::vector<uint64_t>& active, const std::vector<uint64_t>& all,
                    std::vector<double>* per_layer) {
  double sum = 0;
  for (size_t l = 0; l < all.size(); ++l) {
    const double density = all[l] ? double(active[l]) / double(all[l]) : 1.0;
    if (per_layer) per_layer->push_back(density);
    sum += density;
  }
  return all.empty() ? 1.0 : sum / double(all.size());
}

double density_of(const ContextOptions& options, const StepStats& stats, std::vector<double>* per_layer) {
  const double met = mean_density(stats.active_neurons, stats.all_neurons, per_layer);
  return options.mode == "dense" && !options.plan && options.oracle_density >= 1 ? 1.0 : met;
}

}  // namespace hunch
