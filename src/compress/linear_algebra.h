// Dense f32 linear algebra for fitting predictors, on the kernels' products. Matrices are row-major; a set of
// vectors is a matrix with a vector in each row.
#pragma once
#include <vector>

#include "base/compute.h"
#include "formats/weight_view.h"
#include "kernels/matmul.h"

namespace hunch {

struct Matrix {
  size_t rows = 0, cols = 0;
  std::vector<float> values;  // [rows * cols]

  Matrix() = default;
  Matrix(size_t rows, size_t cols) : rows(rows), cols(cols), values(rows * cols) {}
  MatView<float> view() { return {values.data(), rows, cols}; }
  MatView<const float> view() const { return {values.data(), rows, cols}; }
  std::span<float> row(size_t r) { return view().row(r); }
  std::span<const float> row(size_t r) const { return view().row(r); }
  WeightView weights() const { return weight_view(view()); }
};

// A B^T: [m, k] times [n, k] -> [m, n]. B may be of any dtype that computes.
Matrix multiply_nt(Compute& compute, MatView<const float> A, const WeightView& B);
// A B: [m, k] times [k, n] -> [m, n].
Matrix multiply_nn(Compute& compute, MatView<const float> A, const WeightView& B);
Matrix transpose(Compute& compute, MatView<const float> A);

// The lower triangle L with L L^T = A + ridge * (mean of A's diagonal) * I, for symmetric A [n, n]; the upper part
// of the result is zero. The ridge is raised tenfold until the factor exists, so that any covariance will do.
Matrix cholesky(Compute& compute, const Matrix& A, double ridge);

// Solves L y = x, or L^T y = x, for every row x of X, in place.
void solve_lower(Compute& compute, const Matrix& L, MatView<float> X);
void solve_lower_transposed(Compute& compute, const Matrix& L, MatView<float> X);

// Eigenvectors of a symmetric matrix [n, n], one per row, by falling eigenvalue.
Matrix eigenvectors(const Matrix& A);

}  // namespace hunch
