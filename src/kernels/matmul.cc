#include "kernels/matmul.h"

#include <algorithm>

#include "base/codec.h"
#include "base/error.h"

namespace hunch {
namespace {

void decode_row(const WeightView& W, size_t r, float* out) { codec(W.dtype).decode(W.row(r), out, W.cols); }

}  // namespace

void matmul(ThreadPool& pool, MatView<const float> X, std::span<const MatmulTask> tasks, MatmulScratch& scratch) {
  for (const MatmulTask& task : tasks) {
    HUNCH_CHECK(task.W.cols == X.cols, "W.cols {} != X.cols {}", task.W.cols, X.cols);
    HUNCH_CHECK(task.Y.rows == X.rows && task.Y.cols == task.W.rows, "Y [{}, {}]", task.Y.rows, task.Y.cols);
    const auto rows = scratch.panels.get<float>(pool.n_threads() * X.cols);
    pool.parallel_for(task.W.rows, 1, [&](size_t begin, size_t end, size_t thread) {
      float* w = rows.data() + thread * X.cols;
      for (size_t r = begin; r < end; ++r) {
        decode_row(task.W, r, w);
        for (size_t t = 0; t < X.rows; ++t) {
          const std::span<const float> x = X.row(t);
          float sum[8] = {};
          size_t i = 0;
          for (; i + 8 <= x.size(); i += 8)
            for (int j = 0; j < 8; ++j) sum[j] += w[i + j] * x[i + j];
          for (; i < x.size(); ++i) sum[0] += w[i] * x[i];
          float total = task.bias.empty() ? 0.0f : task.bias[r];
          for (const float s : sum) total += s;
          task.Y.row(t)[r] = total;
        }
      }
    });
  }
}

void matmul_transposed(ThreadPool& pool, MatView<const float> A, const WeightView& Wt, std::span<const float> bias,
                       MatView<float> Y, MatmulScratch& scratch) {
  HUNCH_CHECK(A.cols == Wt.rows && Y.cols == Wt.cols && Y.rows == A.rows);
  const auto row = scratch.panels.get<float>(Wt.cols);
  for (size_t t = 0; t < A.rows; ++t) {
    const std::span<float> y = Y.row(t);
    if (bias.empty()) {
      std::fill(y.begin(), y.end(), 0.0f);
    } else {
      std::copy(bias.begin(), bias.end(), y.begin());
    }
  }
  for (size_t k = 0; k < Wt.rows; ++k) {
    decode_row(Wt, k, row.data());
    pool.parallel_for(A.rows, 1, [&](size_t begin, size_t end, size_t) {
      for (size_t t = begin; t < end; ++t) {
        const float a = A.row(t)[k];
        const std::span<float> y = Y.row(t);
        for (size_t c = 0; c < y.size(); ++c) y[c] += a * row[c];
      }
    });
  }
}

}  // namespace hunch
