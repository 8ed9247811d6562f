#include "compress/matrix/loftq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "compress/matrix/awq.h"
#include "linear/values.h"

namespace hunch {
namespace {

Matrix random_matrix(size_t rows, size_t cols, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Matrix W(rows, cols);
  for (float& v : W.values) v = normal(rng);
  return W;
}

Matrix decoded(Compute& compute, const EncodedMatrix& Q) {
  Matrix out(Q.rows, Q.cols);
  decode_rows(compute, Q.view(), out.view());
  return out;
}

Matrix sum_of(Compute& compute, const LoftqSplit& split) {
  Matrix out = decoded(compute, split.base);
  for (size_t r = 0; r < out.rows; ++r)
    for (size_t c = 0; c < out.cols; ++c)
      for (size_t k = 0; k < split.pair.V.rows; ++k) out.row(r)[c] += split.pair.U.row(r)[k] * split.pair.V.row(k)[c];
  return out;
}

double squared_distance(const Matrix& A, const Matrix& B) {
  double sum = 0;
  for (size_t i = 0; i < A.values.size(); ++i) sum += std::pow(double(A.values[i]) - B.values[i], 2);
  return sum;
}

constexpr BlockTarget kTarget = {DType::kQ4_0, {}};

TEST(LoftQ, OneRoundIsRoundingAndTheBestOfItsRankForWhatItLost) {
  Compute compute(2);
  const Matrix W = random_matrix(48, 64, 1);
  const LoftqSplit split = loftq(compute, W, kTarget, 6, 1);
  const EncodedMatrix nearest = encode_nearest(compute, W, kTarget);
  EXPECT_TRUE(std::ranges::equal(split.base.bytes.bytes(), nearest.bytes.bytes()));
  Matrix lost = W;
  const Matrix rounded = decoded(compute, nearest);
  for (size_t i = 0; i < lost.values.size(); ++i) lost.values[i] -= rounded.values[i];
  // What the best of rank 6 leaves are the squares of the other singular values: the residual's eigenvalues.
  const Matrix gram = multiply_nt(compute, lost.view(), lost.weights());
  const Matrix vectors = eigenvectors(gram);
  double left = 0;
  for (size_t i = 6; i < gram.rows; ++i)
    for (size_t r = 0; r < gram.rows; ++r)
      for (size_t c = 0; c < gram.rows; ++c) left += double(vectors.row(i)[r]) * gram.row(r)[c] * vectors.row(i)[c];
  EXPECT_NEAR(squared_distance(W, sum_of(compute, split)), left, 1e-3 * left);
  EXPECT_LT(left, 0.9 * squared_distance(W, rounded));
}

TEST(LoftQ, MoreRoundsLoseLess) {
  Compute compute(2);
  const Matrix W = random_matrix(64, 96, 2);
  double last = INFINITY, first = 0;
  for (const size_t rounds : {1, 2, 5}) {
    const double error = squared_distance(W, sum_of(compute, loftq(compute, W, kTarget, 8, rounds)));
    EXPECT_LE(error, last * (1 + 1e-6));
    last = error;
    if (rounds == 1) first = error;
  }
  EXPECT_LT(last, 0.97 * first);
}

TEST(LoftQ, FullRankLosesNothing) {
  Compute compute(2);
  const Matrix W = random_matrix(32, 64, 3);
  EXPECT_LT(squared_distance(W, sum_of(compute, loftq(compute, W, kTarget, 32, 1))), 1e-5);
}

TEST(LoftQ, ForTheOutputsWhereInputsAreKnown) {
  Compute compute(2);
  const Matrix W = random_matrix(64, 64, 4);
  Matrix X = random_matrix(256, 64, 5);
  for (size_t t = 0; t < X.rows; ++t)
    for (size_t c = 0; c < 8; ++c) X.row(t)[c] *= 10;  // outliers
  const Matrix Xt = transpose(compute, X.view());
  const Matrix M = multiply_nt(compute, Xt.view(), Xt.weights());
  const auto error = [&](const Matrix* moment) {
    return output_error(compute, W, sum_of(compute, loftq(compute, W, kTarget, 8, 5, moment)), M);
  };
  EXPECT_LT(error(&M), 0.8 * error(nullptr));
}

}  // namespace
}  // namespace hunch
