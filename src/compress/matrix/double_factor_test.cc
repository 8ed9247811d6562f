#include "compress/matrix/double_factor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace hunch {
namespace {

DoubleMatrix positive(size_t n) {
  std::mt19937 rng(2);
  std::normal_distribution<double> normal;
  std::vector<double> X(2 * n * n);
  for (double& v : X) v = normal(rng);
  DoubleMatrix A(n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      for (size_t t = 0; t < 2 * n; ++t) A.values[i * n + j] += X[t * n + i] * X[t * n + j] / double(2 * n);
  return A;
}

TEST(DoubleFactor, MultipliesToWhatItIsOf) {
  Compute compute(2);
  for (const size_t n : {1, 5, 63, 64, 65, 200}) {
    const DoubleMatrix A = positive(n);
    DoubleMatrix L = A;
    ASSERT_TRUE(factor_in_place(compute, L));
    const DoubleMatrix Y = inverse_transposed(compute, L);
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j <= i; ++j) {
        double a = 0, one = 0;
        for (size_t k = 0; k <= j; ++k) a += L.values[i * n + k] * L.values[j * n + k];
        ASSERT_NEAR(a, A.values[i * n + j], 1e-12) << n;
        for (size_t k = j; k <= i; ++k) one += L.values[i * n + k] * Y.values[j * n + k];  // L X
        ASSERT_NEAR(one, i == j, 1e-11) << n << ": " << i << ", " << j;
        if (j < i) ASSERT_EQ(Y.values[i * n + j], 0) << n;
      }
  }
}

TEST(DoubleFactor, SaysWhereThereIsNone) {
  Compute compute(1);
  for (const size_t n : {3, 100}) {
    DoubleMatrix A = positive(n);
    A.values[(n - 1) * n + n - 1] = -1;
    EXPECT_FALSE(factor_in_place(compute, A));
    DoubleMatrix B = positive(n);
    B.values[0] = std::nan("");
    EXPECT_FALSE(factor_in_place(compute, B));
  }
}

}  // namespace
}  // namespace hunch
