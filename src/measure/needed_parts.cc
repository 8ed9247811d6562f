#include "measure/needed_parts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {

NeededParts needed_parts(Compute& compute, MatView<const float> A, size_t width, MatView<const float> score,
                         size_t n_out, const PartsProduct& product, double tolerance) {
  const size_t n = A.rows, n_parts = score.cols;
  HUNCH_CHECK(score.rows == n && A.cols == n_parts * width, "{} x {} inputs, {} parts", n, A.cols, n_parts);
  NeededParts out{std::vector<uint32_t>(n * n_parts), std::vector<uint32_t>(n)};
  std::vector<uint32_t> low(n, 0), high(n, 0);  // the answer lies in [low, high]
  compute.threads.parallel_for(n, 1, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const std::span<uint32_t> order = std::span(out.order).subspan(t * n_parts, n_parts);
      std::iota(order.begin(), order.end(), 0u);
      std::ranges::stable_sort(order, std::greater<>(), [&](uint32_t part) { return score.row(t)[part]; });
      high[t] = uint32_t(std::ranges::count_if(score.row(t), [](float s) { return s > 0; }));
    }
  });
  std::vector<float> tail(n * A.cols), y(n * n_out), whole(n * n_out);
  product(A, MatView<float>(whole.data(), n, n_out));
  const MatView<float> Y(y.data(), n, n_out);
  const auto norm = [&](const std::vector<float>& v, size_t t) {
    const auto row = std::span(v).subspan(t * n_out, n_out);
    return std::sqrt(double(dot(row, row)));
  };
  while (low != high) {
    compute.throw_if_stopped();
    for (size_t t = 0; t < n; ++t) {  // what the parts after the middle add
      const size_t middle = (low[t] + high[t]) / 2;
      const std::span<float> row = std::span(tail).subspan(t * A.cols, A.cols);
      std::ranges::fill(row, 0.0f);
      for (size_t i = middle; i < n_parts; ++i) {
        const size_t first = out.order[t * n_parts + i] * width;
        std::copy_n(&A.row(t)[first], width, &row[first]);
      }
    }
    product(MatView<const float>(tail.data(), n, A.cols), Y);
    for (size_t t = 0; t < n; ++t) {
      const uint32_t middle = (low[t] + high[t]) / 2;
      if (low[t] == high[t]) continue;
      if (norm(y, t) <= tolerance * norm(whole, t)) {
        high[t] = middle;
      } else {
        low[t] = middle + 1;
      }
    }
  }
  out.count = std::move(low);
  return out;
}

}  // namespace hunch
