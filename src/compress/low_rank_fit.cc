#include "compress/low_rank_fit.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/ops.h"
#include "kernels/orthonormalise.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kBatch = 1024;

struct Moments {
  std::vector<double> mean_x, mean_mlp;
  Matrix C, K;  // cov(x, x), cov(x_mlp, x); K empty where the two are one
};

std::vector<double> mean_of(const MlpTrace& trace, const std::vector<f16>& values, size_t n_tokens) {
  std::vector<double> mean(trace.n_embd);
  for (size_t t = 0; t < n_tokens; ++t)
    for (size_t i = 0; i < trace.n_embd; ++i) mean[i] += to_f32(values[t * trace.n_embd + i]);
  for (double& m : mean) m /= double(n_tokens);
  return mean;
}

Matrix centred(const MlpTrace& trace, const std::vector<f16>& values, const std::vector<double>& mean, size_t first,
               size_t n) {
  Matrix X(n, trace.n_embd);
  trace.read(values, first, X.view());
  for (size_t r = 0; r < n; ++r)
    for (size_t i = 0; i < trace.n_embd; ++i) X.row(r)[i] -= float(mean[i]);
  return X;
}

Moments moments_of(Compute& compute, const MlpTrace& trace, size_t n_tokens) {
  const bool ahead = !trace.mlp_input.empty();
  Moments m;
  m.mean_x = mean_of(trace, trace.input, n_tokens);
  m.mean_mlp = ahead ? mean_of(trace, trace.mlp_input, n_tokens) : m.mean_x;
  m.C = Matrix(trace.n_embd, trace.n_embd);
  if (ahead) m.K = m.C;
  for (size_t first = 0; first < n_tokens; first += kBatch) {
    compute.throw_if_stopped();
    const size_t n = std::min(kBatch, n_tokens - first);
    const Matrix X = centred(trace, trace.input, m.mean_x, first, n);
    add(multiply_nn(compute, transpose(compute, X.view()).view(), X.weights()).values, m.C.values);
    if (!ahead) continue;
    const Matrix Y = centred(trace, trace.mlp_input, m.mean_mlp, first, n);
    add(multiply_nn(compute, transpose(compute, Y.view()).view(), X.weights()).values, m.K.values);
  }
  scale(1.0f / float(n_tokens), m.C.values);
  scale(1.0f / float(n_tokens), m.K.values);
  return m;
}

// V [r, n_embd] -> V L^-1 K^T W^T: what each direction of the whitened input does to every neuron, [r, n_ff].
Matrix to_neurons(Compute& compute, const WeightView& W, const Moments& m, const Matrix& L, Matrix V) {
  solve_lower_transposed(compute, L, V.view());
  const Matrix mlp = multiply_nt(compute, V.view(), m.K.values.empty() ? m.C.weights() : m.K.weights());
  return multiply_nt(compute, mlp.view(), W);
}

// The transposed map: [r, n_ff] -> [r, n_embd].
Matrix from_neurons(Compute& compute, const WeightView& W, const Moments& m, const Matrix& L, const Matrix& Z) {
  const Matrix mlp = multiply_nn(compute, Z.view(), W);
  Matrix X = multiply_nn(compute, mlp.view(), m.K.values.empty() ? m.C.weights() : m.K.weights());
  solve_lower(compute, L, X.view());
  return X;
}

void weigh(Matrix& Z, std::span<const float> norms, int power) {
  for (size_t r = 0; r < Z.rows; ++r)
    for (size_t k = 0; k < Z.cols; ++k) Z.row(r)[k] *= power == 2 ? norms[k] * norms[k] : norms[k];
}

// Variance of z by neuron, from evenly spread tokens.
std::vector<float> variance_of(Compute& compute, const WeightView& W, const MlpTrace& trace,
                               const std::vector<double>& mean, size_t n_tokens) {
  const size_t n = std::min<size_t>(n_tokens, 2048), step = n_tokens / n;
  std::vector<double> sum(W.rows), squares(W.rows);
  for (size_t t0 = 0; t0 < n; t0 += 256) {
    const size_t b = std::min<size_t>(256, n - t0);
    Matrix X(b, trace.n_embd);
    for (size_t r = 0; r < b; ++r) trace.read(trace.mlp_in(), (t0 + r) * step, X.view().row_range(r, 1));
    for (size_t r = 0; r < b; ++r)
      for (size_t i = 0; i < trace.n_embd; ++i) X.row(r)[i] -= float(mean[i]);
    const Matrix Z = multiply_nt(compute, X.view(), W);
    for (size_t r = 0; r < b; ++r)
      for (size_t k = 0; k < Z.cols; ++k) sum[k] += Z.row(r)[k], squares[k] += double(Z.row(r)[k]) * Z.row(r)[k];
  }
  std::vector<float> variance(W.rows);
  for (size_t k = 0; k < variance.size(); ++k)
    variance[k] = float(std::max(squares[k] / double(n) - sum[k] / double(n) * sum[k] / double(n), 1e-12));
  return variance;
}

}  // namespace

LowRankBasis fit_basis(Compute& compute, const Linear& first, std::span<const float> norms, const MlpTrace& trace,
                       size_t n_tokens, size_t rank) {
  const size_t n = trace.n_embd;
  const Values values(compute, first);
  const WeightView& W = values.rows();
  const Moments m = moments_of(compute, trace, n_tokens);
  const Matrix L = cholesky(compute, m.C, 1e-4);
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  const size_t n_directions = std::min(n, rank + 16);  // some more than asked, so that the last ones settle too
  Matrix V(n_directions, n);
  for (float& v : V.values) v = normal(rng);
  orthonormalise(V.view());
  for (int iteration = 0; iteration < 4; ++iteration) {
    compute.throw_if_stopped();
    Matrix Z = to_neurons(compute, W, m, L, V);
    weigh(Z, norms, 2);
    V = from_neurons(compute, W, m, L, Z);
    orthonormalise(V.view());
  }
  Matrix Z = to_neurons(compute, W, m, L, V);
  weigh(Z, norms, 1);
  const Matrix rotation = eigenvectors(multiply_nt(compute, Z.view(), Z.weights()));
  V = multiply_nn(compute, rotation.view(), V.weights());

  Matrix leading(std::min(rank, n_directions), n);
  std::copy_n(V.values.begin(), leading.values.size(), leading.values.begin());
  LowRankBasis basis;
  basis.out = transpose(compute, to_neurons(compute, W, m, L, leading).view());
  solve_lower_transposed(compute, L, leading.view());
  basis.in = std::move(leading);
  Matrix mean(2, n);
  for (size_t i = 0; i < n; ++i) mean.row(0)[i] = float(m.mean_mlp[i]), mean.row(1)[i] = float(m.mean_x[i]);
  const Matrix z_mean = multiply_nt(compute, mean.view(), W),
               h_mean = multiply_nt(compute, mean.view(), basis.in.weights());
  basis.hidden_mean.assign(h_mean.row(1).begin(), h_mean.row(1).end());
  basis.bias.resize(trace.n_ff);
  for (size_t k = 0; k < trace.n_ff; ++k)
    basis.bias[k] = z_mean.row(0)[k] + (first.bias().empty() ? 0.0f : first.bias()[k]);
  basis.variance = variance_of(compute, W, trace, m.mean_mlp, n_tokens);
  return basis;
}

LowRankFit truncate(const LowRankBasis& basis, size_t rank) {
  rank = std::min(rank, basis.in.rows);
  LowRankFit fit;
  fit.in = Matrix(rank, basis.in.cols);
  std::copy_n(basis.in.values.begin(), fit.in.values.size(), fit.in.values.begin());
  fit.out = Matrix(basis.out.rows, rank);
  fit.bias.resize(basis.out.rows);
  for (size_t k = 0; k < basis.out.rows; ++k) {
    const auto row = basis.out.row(k).first(rank);
    // Hidden values have unit variance: what the guess explains is the sum of squares.
    const float error = std::sqrt(std::max(basis.variance[k] - dot(row, row), 0.01f * basis.variance[k]));
    const float slope = 1.7f / error;
    for (size_t r = 0; r < rank; ++r) fit.out.row(k)[r] = slope * row[r];
    fit.bias[k] = slope * (basis.bias[k] - dot(row, std::span(basis.hidden_mean).first(rank)));
  }
  return fit;
}

LowRankFit rectified(const LowRankFit& linear) {
  const size_t rank = linear.rank();
  LowRankFit fit{Matrix(2 * rank, linear.in.cols), Matrix(linear.out.rows, 2 * rank), linear.bias};
  for (size_t r = 0; r < rank; ++r)
    for (size_t i = 0; i < linear.in.cols; ++i) {
      fit.in.row(r)[i] = linear.in.row(r)[i];
      fit.in.row(rank + r)[i] = -linear.in.row(r)[i];
    }
  for (size_t k = 0; k < linear.out.rows; ++k)
    for (size_t r = 0; r < rank; ++r) {
      fit.out.row(k)[r] = linear.out.row(k)[r];
      fit.out.row(k)[rank + r] = -linear.out.row(k)[r];
    }
  return fit;
}

}  // namespace hunch
