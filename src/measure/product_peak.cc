#include "measure/product_peak.h"

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/timer.h"
#include "measure/workload.h"

namespace hunch {
namespace {

constexpr size_t kTokens = 256;
constexpr size_t kMostWeights = size_t{1} << 25;  // more than caches hold, where the model has so many

// Matrices of one shape, the one with most weights in the layers.
std::vector<Linear*> largest_kind(const ModelWeights& weights) {
  std::map<std::pair<size_t, size_t>, std::vector<Linear*>> kinds;
  for (const Layer& layer : weights.layers)
    const_cast<Layer&>(layer).for_each_linear([&](std::unique_ptr<Linear>& linear) {
      if (linear->id.role != Role::kDown) kinds[{linear->n_out, linear->n_in}].push_back(linear.get());
    });
  HUNCH_CHECK(!kinds.empty(), "a model without matrices");
  const auto size = [](const auto& kind) { return kind.first.first * kind.first.second * kind.second.size(); };
  std::vector<Linear*> chosen = std::ranges::max_element(kinds, {}, size)->second;
  size_t n = 0, n_weights = 0;
  while (n < chosen.size() && n_weights < kMostWeights) n_weights += chosen[n]->n_out * chosen[n]->n_in, ++n;
  chosen.resize(n);
  return chosen;
}

}  // namespace

ProductPeak measure_product_peak(const Engine& engine) {
  const std::vector<Linear*> matrices = largest_kind(engine.model->weights());
  const Linear& first = *matrices[0];
  engine.model->layouts().interleave(*engine.compute, matrices, engine.model->file().maps);
  MatrixWork work;
  for (const Linear* W : matrices) work.add(*W);
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(kTokens * first.n_in), y(kTokens * first.n_out);
  for (float& v : x) v = normal(rng);
  const MatView<const float> X(x.data(), kTokens, first.n_in);
  const MatView<float> Y(y.data(), kTokens, first.n_out);
  const std::vector<TokenTraits> tokens(kTokens);
  std::vector<double> rates;
  const Timer total;
  while (rates.size() < 4 || (rates.size() < 40 && total.seconds() < 0.5)) {
    engine.compute->throw_if_stopped();
    const Timer timer;
    for (const Linear* W : matrices) W->dot(*engine.compute, tokens, X, {}, Y);
    rates.push_back(2.0 * double(work.weights) * double(kTokens) / timer.seconds());
  }
  rates.erase(rates.begin());  // caches and pages were cold
  std::ranges::sort(rates);
  return {rates[rates.size() / 2], first.n_out, first.n_in};
}

}  // namespace hunch
