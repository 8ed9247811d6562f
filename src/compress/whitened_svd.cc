#include "compress/whitened_svd.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

using Dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;
using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr double kDamping = 1e-4;  // of the moment's mean diagonal; more where that is lost in its rounding

Dense dense(const Matrix& A) {
  return Eigen::Map<const Floats>(A.values.data(), Eigen::Index(A.rows), Eigen::Index(A.cols)).cast<double>();
}

Matrix stored(const Dense& A) {
  Matrix out(size_t(A.rows()), size_t(A.cols()));
  Eigen::Map<Floats>(out.values.data(), A.rows(), A.cols()) = A.cast<float>();
  return out;
}

// S with S S^T = M, lower triangular.
Dense whitening(const Matrix& moment) {
  const Dense M = dense(moment);
  const double mean = M.trace() / double(M.rows());
  if (!std::isfinite(mean)) fail(ErrorKind::kFormat, "the inputs of a matrix hold values that are not finite");
  for (double damping = kDamping; damping < 1; damping *= 10) {
    const Eigen::LLT<Dense> factor(M + std::max(damping * mean, 1e-30) * Dense::Identity(M.rows(), M.cols()));
    if (factor.info() == Eigen::Success) return factor.matrixL();
  }
  fail(ErrorKind::kFormat, "the second moment of a matrix' inputs cannot be factored");
}

struct Leading {
  Dense vectors;  // [n, rank] of a symmetric matrix [n, n]
  Vector roots;   // [rank] square roots of their eigenvalues, falling
};

Leading leading(const Dense& gram, size_t rank) {
  const Eigen::SelfAdjointEigenSolver<Dense> solver(gram);
  if (solver.info() != Eigen::Success)
    fail(ErrorKind::kFormat, "a matrix has no singular values: it holds values that are not finite");
  const auto k = Eigen::Index(rank);
  return {solver.eigenvectors().rightCols(k).rowwise().reverse(),
          solver.eigenvalues().tail(k).reverse().cwiseMax(0.0).cwiseSqrt()};
}

// 1 / x, and 0 where nothing is left of a singular value.
Vector inverse(const Vector& x) {
  const double least = 1e-7 * x.maxCoeff();
  return x.unaryExpr([least](double v) { return v > least ? 1 / v : 0.0; });
}

}  // namespace

size_t rank_of_ratio(double ratio, size_t n_out, size_t n_in, size_t multiple) {
  HUNCH_CHECK(ratio > 0 && ratio < 1, "ratio {}", ratio);
  const auto rank = size_t(ratio * double(n_out) * double(n_in) / double(n_out + n_in));
  return std::max<size_t>(1, rank >= multiple ? rank / multiple * multiple : rank);
}

size_t in_whole_lines(size_t rank) {
  constexpr size_t kLine = 32;
  return rank < 8 * kLine ? rank : rank / kLine * kLine;
}

LowRankFactors factorise(const Matrix& W, const Matrix* moment, size_t rank) {
  HUNCH_CHECK(rank <= std::min(W.rows, W.cols) && (!moment || moment->rows == W.cols), "rank {} of [{}, {}]", rank,
              W.rows, W.cols);
  const Dense w = dense(W), S = moment ? whitening(*moment) : Dense();
  const Dense A = moment ? Dense(w * S) : w;  // P D Q^T
  if (!A.allFinite()) fail(ErrorKind::kFormat, "a matrix holds values that are not finite");
  if (W.rows <= W.cols) {  // U = P sqrt(D), V = sqrt(D)^-1 P^T W: S drops out
    const Leading P = leading(A * A.transpose(), rank);
    const Vector root = P.roots.cwiseSqrt();
    return {stored(P.vectors * root.asDiagonal()), stored(inverse(root).asDiagonal() * (P.vectors.transpose() * w))};
  }
  const Leading Q = leading(A.transpose() * A, rank);  // U = A Q sqrt(D)^-1, V = sqrt(D) Q^T S^-1
  const Vector root = Q.roots.cwiseSqrt();
  Dense V = (Q.vectors * root.asDiagonal()).transpose();
  if (moment) S.triangularView<Eigen::Lower>().solveInPlace<Eigen::OnTheRight>(V);
  return {stored(A * (Q.vectors * inverse(root).asDiagonal())), stored(V)};
}

LowRankFactors factorise_scaled(const Matrix& W, std::span<const float> s, size_t rank) {
  HUNCH_CHECK(s.size() == W.cols, "{} scales for {} inputs", s.size(), W.cols);
  Matrix scaled = W;
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t c = 0; c < W.cols; ++c) scaled.row(r)[c] *= s[c];
  LowRankFactors factors = factorise(scaled, nullptr, rank);
  for (size_t k = 0; k < rank; ++k)
    for (size_t c = 0; c < W.cols; ++c) factors.V.row(k)[c] /= s[c];
  return factors;
}

std::vector<float> asvd_scales(std::span<const double> magnitudes, size_t n_tokens, double alpha) {
  std::vector<float> s(magnitudes.size());
  for (size_t c = 0; c < s.size(); ++c)
    s[c] = float(std::pow(magnitudes[c] / double(n_tokens), alpha) + 1e-6);  // the reference's
  return s;
}

double output_error(const Matrix& W, const LowRankFactors& factors, const Matrix& moment) {
  const Dense w = dense(W), M = dense(moment), E = w - dense(factors.U) * dense(factors.V);
  const auto squared = [&](const Dense& A) { return std::max(0.0, (A * M).cwiseProduct(A).sum()); };
  const double whole = squared(w);
  return whole > 0 ? std::sqrt(squared(E) / whole) : 0;
}

}  // namespace hunch
