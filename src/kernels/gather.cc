#include "kernels/gather.h"

#include "base/codec.h"
#include "base/error.h"

namespace hunch {

void gather_dot(ThreadPool& pool, const WeightView& W, std::span<const uint32_t> rows, std::span<const float> x,
                std::span<float> y, Scratch& scratch) {
  HUNCH_CHECK(x.size() == W.cols && y.size() == rows.size());
  const auto decoded = scratch.get<float>(pool.n_threads() * W.cols);
  pool.parallel_for(rows.size(), 1, [&](size_t begin, size_t end, size_t thread) {
    float* w = decoded.data() + thread * W.cols;
    for (size_t k = begin; k < end; ++k) {
      codec(W.dtype).decode(W.row(rows[k]), w, W.cols);
      float sum = 0;
      for (size_t i = 0; i < x.size(); ++i) sum += w[i] * x[i];
      y[k] = sum;
    }
  });
}

void gather_axpy(ThreadPool&, const WeightView& W, std::span<const uint32_t> rows, std::span<const float> a,
                 std::span<float> y, Scratch& scratch) {
  HUNCH_CHECK(a.size() == rows.size() && y.size() == W.cols);
  const auto w = scratch.get<float>(W.cols);
  for (size_t k = 0; k < rows.size(); ++k) {
    codec(W.dtype).decode(W.row(rows[k]), w.data(), W.cols);
    for (size_t i = 0; i < y.size(); ++i) y[i] += a[k] * w[i];
  }
}

}  // namespace hunch
