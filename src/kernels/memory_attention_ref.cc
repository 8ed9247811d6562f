#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "kernels/memory_attention.h"

namespace hunch::ref {

void attend_memory(MatView<const float> Q, const MemoryHead& memory, const MemoryMix& mix, const SoftmaxStats& stats,
                   MatView<float> out) {
  const size_t n = memory.keys.rows, d = Q.cols;
  std::vector<float> row(std::max<size_t>(d, out.cols));
  for (size_t t = 0; t < Q.rows; ++t) {
    std::vector<double> scores(n);
    for (size_t j = 0; j < n; ++j) {
      codec(memory.keys.dtype).decode(memory.keys.row(j), row.data(), d);
      for (size_t i = 0; i < d; ++i) scores[j] += double(mix.scale) * row[i] * Q.row(t)[i];
    }
    for (double& s : scores) s = mix.soft_cap > 0 ? mix.soft_cap * std::tanh(s / mix.soft_cap) : s;
    std::vector<uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order, std::greater<>(), [&](uint32_t j) { return scores[j]; });
    order.resize(std::min(mix.top, n));
    const bool joins = mix.gates.empty() && stats.sum[t] > 0;
    double max = joins ? stats.max[t] : -INFINITY;
    for (const uint32_t j : order) max = std::max(max, scores[j]);
    const double local = joins ? stats.sum[t] * std::exp(stats.max[t] - max) : 0;
    double sum = local;
    for (const uint32_t j : order) sum += std::exp(scores[j] - max);
    if (mix.gates.empty() && order.empty()) continue;
    const double gate = mix.gates.empty() ? 1 : mix.gates[t], before = mix.gates.empty() ? local / sum : 1 - gate;
    std::vector<double> mixed(out.cols);
    for (size_t i = 0; i < out.cols; ++i) mixed[i] = before * out.row(t)[i];
    for (const uint32_t j : order) {
      codec(memory.values.dtype).decode(memory.values.row(j), row.data(), out.cols);
      for (size_t i = 0; i < out.cols; ++i) mixed[i] += gate * std::exp(scores[j] - max) / sum * row[i];
    }
    std::ranges::copy(mixed, out.row(t).begin());
  }
}

}  // namespace hunch::ref
