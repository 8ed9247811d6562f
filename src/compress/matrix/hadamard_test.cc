#include "compress/matrix/hadamard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"

namespace hunch {
namespace {

std::vector<float> random_values(size_t n) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

double dot_of(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

// Columns of H, made by unit vectors.
std::vector<std::vector<float>> columns(const Hadamard& H) {
  std::vector<std::vector<float>> out(H.size(), std::vector<float>(H.size()));
  for (size_t i = 0; i < H.size(); ++i) {
    out[i][i] = 1;
    H.multiply(out[i]);
  }
  return out;
}

TEST(Hadamard, IsOrthogonalWithEqualMagnitudesWhereOneIsKnown) {
  for (const size_t n : {1, 2, 64, 12, 20, 28, 36, 44, 24, 96, 80, 112, 384, 560, 576, 896, 180, 76}) {
    const Hadamard H(n);
    EXPECT_FALSE(H.is_random()) << n;
    const auto c = columns(H);
    const double magnitude = 1 / std::sqrt(double(n));
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) ASSERT_NEAR(std::abs(c[i][j]), magnitude, 1e-6) << n;
      for (size_t j = 0; j <= i; ++j) ASSERT_NEAR(dot_of(c[i], c[j]), i == j, 1e-5) << n << ": " << i << ", " << j;
      ASSERT_GT(c[i][0], 0) << n;
      ASSERT_GT(c[0][i], 0) << n;
    }
  }
}

TEST(Hadamard, OtherSizesAreOrthogonalToo) {
  for (const size_t n : {3, 5, 7, 10, 46, 44 * 23}) {
    const Hadamard H(n);
    const auto c = columns(H);
    for (size_t i = 0; i < std::min<size_t>(n, 64); ++i)
      for (size_t j = 0; j <= i; ++j) ASSERT_NEAR(dot_of(c[i], c[j]), i == j, 1e-5) << n;
  }
  EXPECT_TRUE(Hadamard(7).is_random());
  EXPECT_THROW(Hadamard(2 * 8191), Error);
}

TEST(Hadamard, TheTransposedIsTheInverse) {
  for (const size_t n : {32, 12, 28, 56, 5}) {
    const Hadamard H(n);
    const std::vector<float> x = random_values(n);
    std::vector<float> y = x;
    H.multiply(y);
    EXPECT_GT(std::abs(y[0] - x[0]), 1e-3);
    H.multiply_transposed(y);
    for (size_t i = 0; i < n; ++i) EXPECT_NEAR(y[i], x[i], 1e-5) << n;
  }
}

TEST(SpreadingRotation, SpreadsOneValueOverAll) {
  for (const size_t n : {64, 384, 896, 5120}) {
    for (const bool keeps_mean : {false, true}) {
      const SpreadingRotation U(n, 7, keeps_mean);
      std::vector<float> x(n);
      x[n / 3] = 1;
      U.apply(x);
      float most = 0;
      for (const float v : x) most = std::max(most, std::abs(v));
      EXPECT_NEAR(dot_of(x, x), 1, 1e-4);
      EXPECT_LT(most, keeps_mean ? 0.7 : 1.01 / std::sqrt(double(n))) << n;
    }
  }
}

TEST(SpreadingRotation, KeepsTheMeanWhereAsked) {
  for (const size_t n : {32, 384, 7}) {
    const SpreadingRotation U(n, 5, true);
    std::vector<float> equal(n, 2.5f), x = random_values(n);
    double before = 0, after = 0;
    for (const float v : x) before += v;
    U.apply(equal);
    U.apply(x);
    for (const float v : equal) EXPECT_NEAR(v, 2.5, 1e-4) << n;
    for (const float v : x) after += v;
    EXPECT_NEAR(after, before, 1e-3) << n;
  }
}

}  // namespace
}  // namespace hunch
