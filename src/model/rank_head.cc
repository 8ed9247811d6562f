#include "model/rank_head.h"

#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

double product(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

}  // namespace

float RankHead::score(std::span<const float> state) const {
  const size_t n = state.size();
  HUNCH_CHECK(n_labels > 0 && out.size() == n_labels * n, "a head of {} values for {}", out.size(), n);
  std::vector<float> hidden(state.begin(), state.end());
  for (size_t i = 0; !dense.empty() && i < n; ++i)
    hidden[i] = float(std::tanh(product(std::span(dense).subspan(i * n, n), state) +
                                (dense_bias.empty() ? 0.0 : double(dense_bias[i]))));
  return float(product(std::span(out).first(n), hidden) + (out_bias.empty() ? 0.0 : double(out_bias[0])));
}

}  // namespace hunch
