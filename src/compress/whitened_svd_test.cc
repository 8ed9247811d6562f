#include "compress/whitened_svd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/ops.h"

namespace hunch {
namespace {

Matrix random_matrix(size_t rows, size_t cols, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Matrix m(rows, cols);
  for (float& v : m.values) v = normal(rng);
  return m;
}

// Tokens whose entries differ in size by two orders of magnitude and depend on each other.
Matrix tokens_like_activations(size_t n_tokens, size_t n, uint32_t seed) {
  Compute compute(1);
  Matrix mix = random_matrix(n, n, seed), X = random_matrix(n_tokens, n, seed + 1);
  for (size_t i = 0; i < n; ++i) scale(std::pow(100.0f, -float(i) / float(n)), mix.row(i));
  return multiply_nn(compute, X.view(), mix.weights());
}

double squared(const Matrix& A) {
  double sum = 0;
  for (float v : A.values) sum += double(v) * double(v);
  return sum;
}

// ||(W - U V) X^T||^2, by the tokens themselves.
double squared_error(const Matrix& W, const LowRankFactors& f, const Matrix& X) {
  Compute compute(1);
  Matrix E = multiply_nn(compute, f.U.view(), f.V.weights());
  for (size_t i = 0; i < E.values.size(); ++i) E.values[i] = W.values[i] - E.values[i];
  return squared(multiply_nt(compute, X.view(), E.weights()));
}

Matrix moment_of(const Matrix& X) {
  Compute compute(1);
  const Matrix Xt = transpose(compute, X.view());
  return multiply_nt(compute, Xt.view(), Xt.weights());
}

// No product of rank r comes nearer to Y = X W^T than Y's own best approximation (Eckart and Young 1936), whose error
// is what the outputs hold beside their leading directions.
double least_squared_error(const Matrix& W, const Matrix& X, size_t rank) {
  Compute compute(1);
  const Matrix Y = multiply_nt(compute, X.view(), W.weights());
  const Matrix directions = eigenvectors(moment_of(Y));
  double left = squared(Y);
  for (size_t k = 0; k < rank; ++k)
    left -= squared(multiply_nt(compute, directions.view().row_range(k, 1), Y.weights()));
  return left;
}

TEST(WhitenedSvd, HasTheLeastErrorThatItsRankAllows) {
  for (const auto& [n_out, n_in] : {std::pair<size_t, size_t>{20, 48}, {48, 20}, {32, 32}})
    for (const size_t rank : {1, 7, 15}) {
      SCOPED_TRACE(std::to_string(n_out) + " x " + std::to_string(n_in) + ", rank " + std::to_string(rank));
      const Matrix W = random_matrix(n_out, n_in, 1), X = tokens_like_activations(300, n_in, 2), M = moment_of(X);
      const LowRankFactors whitened = factorise(W, &M, rank), plain = factorise(W, nullptr, rank);
      ASSERT_EQ(whitened.U.rows, n_out);
      ASSERT_EQ(whitened.U.cols, rank);
      ASSERT_EQ(whitened.V.rows, rank);
      ASSERT_EQ(whitened.V.cols, n_in);
      const double least = least_squared_error(W, X, rank), error = squared_error(W, whitened, X);
      EXPECT_GE(error, least * 0.999);
      EXPECT_LE(error, least * 1.01);  // the damping
      EXPECT_GT(squared_error(W, plain, X), error * 1.2);
      EXPECT_NEAR(output_error(W, whitened, M),
                  std::sqrt(error / squared_error(W, {Matrix(n_out, 1), Matrix(1, n_in)}, X)), 1e-3);
    }
}

TEST(WhitenedSvd, WithoutAMomentItIsThePlainSvd) {
  Compute compute(1);
  const Matrix W = random_matrix(24, 40, 3);
  Matrix I(40, 40);
  for (size_t i = 0; i < 40; ++i) I.row(i)[i] = 1;
  const LowRankFactors plain = factorise(W, nullptr, 9);
  const double error = squared_error(W, plain, I);
  EXPECT_NEAR(error, least_squared_error(W, I, 9), 1e-3 * error);
}

TEST(WhitenedSvd, AMatrixOfThatRankIsKept) {
  Compute compute(1);
  const Matrix A = random_matrix(30, 5, 4), B = random_matrix(5, 44, 5), X = tokens_like_activations(200, 44, 6);
  const Matrix W = multiply_nn(compute, A.view(), B.weights()), M = moment_of(X);
  for (const size_t rank : {5, 9}) {  // a rank that is larger divides by nothing that is zero
    const LowRankFactors f = factorise(W, &M, rank);
    EXPECT_LT(output_error(W, f, M), 1e-4) << rank;
    for (float v : f.V.values) ASSERT_TRUE(std::isfinite(v));
  }
}

// Fewer tokens than inputs, and inputs that are always zero.
TEST(WhitenedSvd, InputsThatNeverCameStaySmall) {
  Matrix X = tokens_like_activations(10, 32, 7);
  for (size_t t = 0; t < X.rows; ++t) X.row(t)[3] = 0;
  const Matrix W = random_matrix(48, 32, 8), M = moment_of(X);
  const LowRankFactors f = factorise(W, &M, 12);
  EXPECT_LT(output_error(W, f, M), 0.05);
  for (const Matrix* m : {&f.U, &f.V})
    for (float v : m->values) {
      ASSERT_TRUE(std::isfinite(v));
      ASSERT_LT(std::abs(v), 1e3f);
    }
}

TEST(WhitenedSvd, RanksHaveTheRatiosParameters) {
  EXPECT_EQ(rank_of_ratio(0.5, 384, 384), 96u);
  EXPECT_EQ(rank_of_ratio(0.5, 384, 1536), 153u);
  EXPECT_EQ(rank_of_ratio(0.5, 384, 1536, 32), 128u);
  EXPECT_EQ(rank_of_ratio(0.5, 1536, 384), 153u);
  EXPECT_EQ(rank_of_ratio(0.5, 64, 64, 32), 16u);  // no whole block: as it is
  EXPECT_EQ(rank_of_ratio(0.001, 64, 64), 1u);
  for (const double ratio : {0.1, 0.5, 0.8, 0.99}) {
    const size_t rank = rank_of_ratio(ratio, 300, 700);
    EXPECT_LE(double(rank) * 1000, ratio * 300 * 700);
    EXPECT_GT(double(rank + 1) * 1000, ratio * 300 * 700);
  }
}

TEST(WhitenedSvd, LargeRanksAreWholeLines) {
  for (const auto& [rank, want] : {std::pair<size_t, size_t>{1, 1}, {255, 255}, {256, 256}, {287, 256}, {751, 736}})
    EXPECT_EQ(in_whole_lines(rank), want) << rank;
}

}  // namespace
}  // namespace hunch
