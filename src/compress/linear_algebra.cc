#include "compress/linear_algebra.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {

Matrix multiply_nt(Compute& compute, MatView<const float> A, const WeightView& B) {
  Matrix C(A.rows, B.rows);
  const MatmulTask task{B, {}, C.view()};
  matmul(compute, A, {&task, 1});
  return C;
}

Matrix multiply_nn(Compute& compute, MatView<const float> A, const WeightView& B) {
  Matrix C(A.rows, B.cols);
  matmul_transposed(compute, A, B, {}, C.view());
  return C;
}

Matrix transpose(Compute& compute, MatView<const float> A) {
  Matrix T(A.cols, A.rows);
  constexpr size_t kTile = 32;
  compute.threads.parallel_for(A.cols, kTile, [&](size_t begin, size_t end) {
    for (size_t r0 = 0; r0 < A.rows; r0 += kTile)
      for (size_t c0 = begin; c0 < end; c0 += kTile)
        for (size_t r = r0; r < std::min(r0 + kTile, A.rows); ++r)
          for (size_t c = c0; c < std::min(c0 + kTile, end); ++c) T.values[c * A.rows + r] = A.row(r)[c];
  });
  return T;
}

namespace {

// Returns false where a pivot is not positive.
bool try_cholesky(Compute& compute, const Matrix& A, float shift, Matrix& L) {
  const size_t n = A.rows;
  for (size_t j = 0; j < n; ++j) {
    if (j % 64 == 0) compute.throw_if_stopped();
    const std::span<const float> row_j = L.row(j).first(j);
    const float pivot = A.values[j * n + j] + shift - dot(row_j, row_j);
    if (!(pivot > shift * 1e-3f)) return false;
    const float root = std::sqrt(pivot);
    L.values[j * n + j] = root;
    compute.threads.parallel_for(n - j - 1, 64, [&](size_t begin, size_t end) {
      for (size_t i = j + 1 + begin; i < j + 1 + end; ++i)
        L.values[i * n + j] = (A.values[i * n + j] - dot(L.row(i).first(j), row_j)) / root;
    });
  }
  return true;
}

}  // namespace

Matrix cholesky(Compute& compute, const Matrix& A, double ridge) {
  HUNCH_CHECK(A.rows == A.cols && A.rows > 0);
  double trace = 0;
  for (size_t i = 0; i < A.rows; ++i) trace += A.values[i * A.rows + i];
  const double mean = std::max(trace / double(A.rows), 1e-30);
  for (; ridge < 1e3; ridge *= 10) {
    Matrix L(A.rows, A.rows);
    if (try_cholesky(compute, A, float(ridge * mean), L)) return L;
  }
  fail(ErrorKind::kFormat, "the activations' covariance cannot be factored: they hold values that are not finite");
}

void solve_lower(Compute& compute, const Matrix& L, MatView<float> X) {
  compute.threads.parallel_for(X.rows, 1, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const std::span<float> x = X.row(r);
      for (size_t i = 0; i < x.size(); ++i) x[i] = (x[i] - dot(L.row(i).first(i), x.first(i))) / L.row(i)[i];
    }
  });
}

void solve_lower_transposed(Compute& compute, const Matrix& L, MatView<float> X) {
  compute.threads.parallel_for(X.rows, 1, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const std::span<float> x = X.row(r);
      for (size_t i = x.size(); i-- > 0;) {
        x[i] /= L.row(i)[i];
        axpy(-x[i], L.row(i).first(i), x.first(i));
      }
    }
  });
}

Matrix eigenvectors(const Matrix& A) {
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto n = Eigen::Index(A.rows);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(
      Eigen::Map<const Floats>(A.values.data(), n, n).cast<double>());
  Matrix out(A.rows, A.rows);
  Eigen::Map<Floats>(out.values.data(), n, n) = solver.eigenvectors().rowwise().reverse().transpose().cast<float>();
  return out;
}

}  // namespace hunch
