#include "synth/sets.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace hunch {

std::vector<double> skewed_shares(size_t n, double exponent, double target,
                                  const std::function<double(double)>& response, SynthNoise& noise) {
  std::vector<double> weight(n);
  for (size_t i = 0; i < n; ++i) weight[i] = std::pow((double(i) + 0.5) / double(n) + 0.002, -exponent);
  const auto mean_response = [&](double scale) {
    double sum = 0;
    for (double w : weight) sum += response(std::min(1.0, scale * w));
    return sum / double(n);
  };
  double low = 0, high = 1 / weight.back();  // at `high` every share is 1
  for (int i = 0; i < 50; ++i) (mean_response((low + high) / 2) < target ? low : high) = (low + high) / 2;
  for (double& w : weight) w = std::min(1.0, high * w);
  for (size_t i = n; i > 1; --i) std::swap(weight[i - 1], weight[noise.below(i)]);
  return weight;
}

ContextSets deal_contexts(std::span<const double> shares, size_t n_contexts, SynthNoise& noise) {
  ContextSets sets;
  std::vector<size_t> load(n_contexts, 0);
  std::vector<double> priority(n_contexts);
  std::vector<uint16_t> order(n_contexts);
  double owed = noise.uniform();
  for (double share : shares) {
    owed += share * double(n_contexts);
    const size_t n = std::min(n_contexts, size_t(owed));
    owed -= double(n);
    // The contexts served least so far, with enough chance that members do not repeat each other's sets.
    constexpr double kChance = 4;
    for (size_t c = 0; c < n_contexts; ++c) priority[c] = double(load[c]) + kChance * noise.uniform();
    std::iota(order.begin(), order.end(), uint16_t(0));
    std::ranges::nth_element(order, order.begin() + std::ptrdiff_t(n), {}, [&](uint16_t c) { return priority[c]; });
    std::sort(order.begin(), order.begin() + std::ptrdiff_t(n));
    for (size_t i = 0; i < n; ++i) ++load[order[i]];
    sets.push(std::span(order).first(n));
  }
  return sets;
}

}  // namespace hunch
