// The products as their contracts state them, in double precision on decoded weights.
#include <vector>

#include "formats/format.h"
#include "kernels/gather.h"
#include "kernels/matmul.h"

namespace hunch::ref {
namespace {

std::vector<float> decoded_row(const WeightView& W, size_t r) {
  std::vector<float> row(W.cols);
  codec(W.dtype).decode(W.row(r), row.data(), W.cols);
  return row;
}

float dot(std::span<const float> w, std::span<const float> x) {
  double sum = 0;
  for (size_t i = 0; i < w.size(); ++i) sum += double(w[i]) * x[i];
  return float(sum);
}

}  // namespace

void matmul(MatView<const float> X, const MatmulTask& task) {
  for (size_t r = 0; r < task.W.rows; ++r) {
    const std::vector<float> w = decoded_row(task.W, r);
    for (size_t t = 0; t < X.rows; ++t) task.Y.row(t)[r] = dot(w, X.row(t)) + (task.bias.empty() ? 0.0f : task.bias[r]);
  }
}

void matmul_transposed(MatView<const float> A, const WeightView& Wt, std::span<const float> bias, MatView<float> Y) {
  std::vector<double> sum(A.rows * Wt.cols, 0.0);
  for (size_t k = 0; k < Wt.rows; ++k) {
    const std::vector<float> w = decoded_row(Wt, k);
    for (size_t t = 0; t < A.rows; ++t)
      for (size_t c = 0; c < Wt.cols; ++c) sum[t * Wt.cols + c] += double(A.row(t)[k]) * w[c];
  }
  for (size_t t = 0; t < A.rows; ++t)
    for (size_t c = 0; c < Wt.cols; ++c) Y.row(t)[c] = float(sum[t * Wt.cols + c]) + (bias.empty() ? 0.0f : bias[c]);
}

void gather_dot(const WeightView& W, std::span<const uint32_t> rows, std::span<const float> x, std::span<float> y) {
  for (size_t k = 0; k < rows.size(); ++k) y[k] = dot(decoded_row(W, rows[k]), x);
}

void gather_axpy(const WeightView& W, std::span<const uint32_t> rows, std::span<const float> a, std::span<float> y) {
  std::vector<double> sum(y.begin(), y.end());
  for (size_t k = 0; k < rows.size(); ++k) {
    const std::vector<float> w = decoded_row(W, rows[k]);
    for (size_t c = 0; c < W.cols; ++c) sum[c] += double(a[k]) * w[c];
  }
  for (size_t c = 0; c < W.cols; ++c) y[c] = float(sum[c]);
}

void gather_dot(const WeightView& W, std::span<const uint32_t> rows, MatView<const float> X, MatView<float> Y) {
  for (size_t t = 0; t < X.rows; ++t) gather_dot(W, rows, X.row(t), Y.row(t));
}

void gather_axpy(const WeightView& W, std::span<const uint32_t> rows, MatView<const float> A, MatView<float> Y) {
  for (size_t t = 0; t < A.rows; ++t) gather_axpy(W, rows, A.row(t), Y.row(t));
}

}  // namespace hunch::ref
