#include "model/rank_head.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace hunch {
namespace {

double product(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

void normalise(const RankHead& head, std::vector<float>& x) {
  double mean = 0, squares = 0;
  for (const float v : x) mean += v;
  mean /= double(x.size());
  for (const float v : x) squares += (v - mean) * (v - mean);
  const double factor = 1 / std::sqrt(squares / double(x.size()) + head.norm_eps);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = float((x[i] - mean) * factor * head.norm[i] + (head.norm_bias.empty() ? 0.0 : double(head.norm_bias[i])));
}

}  // namespace

float RankHead::score(std::span<const float> state) const {
  const size_t n = state.size();
  HUNCH_CHECK(n_labels > 0 && out.size() == n_labels * n, "a head of {} values for {}", out.size(), n);
  std::vector<float> hidden(state.begin(), state.end());
  for (size_t i = 0; !dense.empty() && i < n; ++i) {
    const double x =
        product(std::span(dense).subspan(i * n, n), state) + (dense_bias.empty() ? 0.0 : double(dense_bias[i]));
    hidden[i] = float(norm.empty() ? std::tanh(x) : 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)));
  }
  if (!norm.empty()) normalise(*this, hidden);
  return float(product(std::span(out).first(n), hidden) + (out_bias.empty() ? 0.0 : double(out_bias[0])));
}

}  // namespace hunch
