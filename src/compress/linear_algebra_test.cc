#include "compress/linear_algebra.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace hunch {
namespace {

Matrix random_matrix(size_t rows, size_t cols, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Matrix m(rows, cols);
  for (float& v : m.values) v = normal(rng);
  return m;
}

float at(const Matrix& m, size_t r, size_t c) { return m.values[r * m.cols + c]; }

TEST(LinearAlgebra, ProductsAndTranspose) {
  Compute compute(2);
  const Matrix A = random_matrix(37, 50, 1), B = random_matrix(50, 41, 2);
  const Matrix Bt = transpose(compute, B.view());
  const Matrix nn = multiply_nn(compute, A.view(), B.weights()), nt = multiply_nt(compute, A.view(), Bt.weights());
  for (size_t i = 0; i < A.rows; ++i)
    for (size_t j = 0; j < B.cols; ++j) {
      double want = 0;
      for (size_t k = 0; k < A.cols; ++k) want += double(at(A, i, k)) * at(B, k, j);
      EXPECT_NEAR(at(nn, i, j), want, 1e-4);
      EXPECT_NEAR(at(nt, i, j), want, 1e-4);
    }
}

TEST(LinearAlgebra, CholeskyFactorsAndSolves) {
  Compute compute(2);
  const Matrix X = random_matrix(60, 90, 3);
  const Matrix A = multiply_nt(compute, X.view(), X.weights());
  const Matrix L = cholesky(compute, A, 1e-7);
  const Matrix LLt = multiply_nt(compute, L.view(), L.weights());
  for (size_t i = 0; i < A.values.size(); ++i) EXPECT_NEAR(LLt.values[i], A.values[i], 2e-3);
  Matrix Y = random_matrix(5, 60, 4);
  const Matrix B = Y;
  solve_lower(compute, L, Y.view());
  solve_lower_transposed(compute, L, Y.view());  // now A Y^T = B^T
  const Matrix back = multiply_nt(compute, Y.view(), A.weights());
  for (size_t i = 0; i < B.values.size(); ++i) EXPECT_NEAR(back.values[i], B.values[i], 2e-3);
}

TEST(LinearAlgebra, CholeskyOfASingularMatrixIsHelpedByARidge) {
  Compute compute(1);
  const Matrix X = random_matrix(60, 3, 5);
  const Matrix L = cholesky(compute, multiply_nt(compute, X.view(), X.weights()), 1e-6);
  for (float v : L.values) EXPECT_TRUE(std::isfinite(v));
}

TEST(LinearAlgebra, EigenvectorsDiagonaliseInFallingOrder) {
  Compute compute(1);
  const Matrix X = random_matrix(24, 30, 6);
  const Matrix A = multiply_nt(compute, X.view(), X.weights()), V = eigenvectors(A);
  const Matrix VA = multiply_nn(compute, V.view(), A.weights()), D = multiply_nt(compute, VA.view(), V.weights());
  for (size_t i = 0; i < 24; ++i)
    for (size_t j = 0; j < 24; ++j)
      if (i != j) {
        EXPECT_NEAR(at(D, i, j), 0, 2e-3);
      }
  for (size_t i = 1; i < 24; ++i) EXPECT_LE(at(D, i, i), at(D, i - 1, i - 1) + 1e-3f);
}

}  // namespace
}  // namespace hunch
