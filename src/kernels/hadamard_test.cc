#include "kernels/hadamard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

TEST(Hadamard, IsTheMatrixOnEveryTarget) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  for_each_target([&] {
    for (const size_t n : {1, 2, 3, 12, 32, 48, 64, 80, 96, 128, 160, 256, 576}) {
      const size_t block = hadamard_block(n);
      std::vector<float> x(n + 1), want;
      for (float& v : x) v = normal(rng);
      want = x;
      const float after = x[n];
      ref::hadamard(std::span(want).first(n), block);
      hadamard(std::span(x).first(n), block);
      for (size_t i = 0; i < n; ++i) ASSERT_NEAR(x[i], want[i], 2e-6 * std::sqrt(double(block))) << n << ", " << i;
      EXPECT_EQ(x[n], after);
    }
  });
}

TEST(Hadamard, KeepsProductsAndUndoesItself) {
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  std::vector<float> a(96), b(96);
  for (size_t i = 0; i < 96; ++i) a[i] = normal(rng), b[i] = normal(rng);
  const std::vector<float> was = a;
  const auto dot = [&] {
    double sum = 0;
    for (size_t i = 0; i < 96; ++i) sum += double(a[i]) * b[i];
    return sum;
  };
  const double before = dot();
  hadamard(a, 32);
  hadamard(b, 32);
  EXPECT_NEAR(dot(), before, 1e-4);
  hadamard(a, 32);
  for (size_t i = 0; i < 96; ++i) EXPECT_NEAR(a[i], was[i], 2e-6);
}

TEST(Hadamard, SpreadsAnOutlier) {
  std::vector<float> x(64, 0.0f);
  x[5] = 8;
  hadamard(x, 64);
  for (const float v : x) EXPECT_EQ(std::abs(v), 1);
}

TEST(Hadamard, BlocksAreWhatDivides) {
  EXPECT_EQ(hadamard_block(128), 128u);
  EXPECT_EQ(hadamard_block(96), 32u);
  EXPECT_EQ(hadamard_block(80), 16u);
  EXPECT_EQ(hadamard_block(7), 1u);
}

}  // namespace
}  // namespace hunch
