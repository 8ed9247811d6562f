#include "compress/linear_algebra.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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
  compute.threads.parallel_for(A.cols, kTile, [&](size_t begin, size_t end, size_t) {
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
    compute.threads.parallel_for(n - j - 1, 64, [&](size_t begin, size_t end, size_t) {
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
  compute.threads.parallel_for(X.rows, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t r = begin; r < end; ++r) {
      const std::span<float> x = X.row(r);
      for (size_t i = 0; i < x.size(); ++i) x[i] = (x[i] - dot(L.row(i).first(i), x.first(i))) / L.row(i)[i];
    }
  });
}

void solve_lower_transposed(Compute& compute, const Matrix& L, MatView<float> X) {
  compute.threads.parallel_for(X.rows, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t r = begin; r < end; ++r) {
      const std::span<float> x = X.row(r);
      for (size_t i = x.size(); i-- > 0;) {
        x[i] /= L.row(i)[i];
        axpy(-x[i], L.row(i).first(i), x.first(i));
      }
    }
  });
}

void orthonormalise(MatView<float> rows) {
  for (size_t i = 0; i < rows.rows; ++i) {
    const std::span<float> x = rows.row(i);
    const float before = std::sqrt(dot(x, x));
    for (int pass = 0; pass < 2; ++pass)
      for (size_t j = 0; j < i; ++j) axpy(-dot(x, rows.row(j)), rows.row(j), x);
    const float norm = std::sqrt(dot(x, x));
    scale(norm > 1e-5f * before && norm > 0 ? 1 / norm : 0.0f, x);
  }
}

Matrix eigenvectors(const Matrix& A) {
  const size_t n = A.rows;
  std::vector<double> a(A.values.begin(), A.values.end()), v(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) v[i * n + i] = 1;
  for (int sweep = 0; sweep < 30; ++sweep) {
    double off = 0, diagonal = 0;
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j) (i == j ? diagonal : off) += a[i * n + j] * a[i * n + j];
    if (off <= 1e-16 * diagonal) break;
    for (size_t p = 0; p < n; ++p)
      for (size_t q = p + 1; q < n; ++q) {
        const double apq = a[p * n + q];
        if (std::abs(apq) < 1e-300) continue;
        const double theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (size_t k = 0; k < n; ++k) {  // columns p and q
          const double akp = a[k * n + p], akq = a[k * n + q];
          a[k * n + p] = c * akp - s * akq;
          a[k * n + q] = s * akp + c * akq;
        }
        for (size_t k = 0; k < n; ++k) {  // rows p and q, and the vectors
          const double apk = a[p * n + k], aqk = a[q * n + k], vp = v[p * n + k], vq = v[q * n + k];
          a[p * n + k] = c * apk - s * aqk;
          a[q * n + k] = s * apk + c * aqk;
          v[p * n + k] = c * vp - s * vq;
          v[q * n + k] = s * vp + c * vq;
        }
      }
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, std::greater<>(), [&](size_t i) { return a[i * n + i]; });
  Matrix out(n, n);
  for (size_t i = 0; i < n; ++i)
    for (size_t k = 0; k < n; ++k) out.values[i * n + k] = float(v[order[i] * n + k]);
  return out;
}

}  // namespace hunch
