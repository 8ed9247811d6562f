#include "measure/needed_parts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace hunch {
namespace {

// Parts that add at right angles (Y = A), so that the error of leaving parts out is known in closed form.
TEST(NeededParts, EqualsACountOverSortedParts) {
  constexpr size_t kRows = 9, kParts = 37, kWidth = 2, kIn = kParts * kWidth;
  Compute compute(2);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> a(kRows * kIn), score(kRows * kParts);
  for (size_t t = 0; t < kRows; ++t)
    for (size_t p = 0; p < kParts; ++p) {
      const float size = t == 4 || (t == 5 && p % 3) ? 0.0f : std::exp(2 * normal(random));  // row 4 is silent
      for (size_t w = 0; w < kWidth; ++w) a[t * kIn + p * kWidth + w] = size * normal(random);
      score[t * kParts + p] = std::hypot(a[t * kIn + p * kWidth], a[t * kIn + p * kWidth + 1]);
    }
  const PartsProduct identity = [](MatView<const float> A, MatView<float> Y) {
    for (size_t t = 0; t < A.rows; ++t) std::ranges::copy(A.row(t), Y.row(t).begin());
  };
  for (const double tolerance : {0.01, 0.1, 0.5}) {
    const NeededParts got =
        needed_parts(compute, {a.data(), kRows, kIn}, kWidth, {score.data(), kRows, kParts}, kIn, identity, tolerance);
    for (size_t t = 0; t < kRows; ++t) {
      std::vector<double> squares;
      for (size_t p = 0; p < kParts; ++p) squares.push_back(double(score[t * kParts + p]) * score[t * kParts + p]);
      std::ranges::sort(squares);
      double whole = 0, tail = 0;
      for (double s : squares) whole += s;
      size_t needed = kParts;
      for (double s : squares) {
        tail += s;
        if (std::sqrt(tail) > tolerance * std::sqrt(whole) * (1 + 1e-6)) break;
        --needed;
      }
      EXPECT_EQ(got.count[t], needed) << "row " << t << ", tolerance " << tolerance;
      for (size_t i = 1; i < kParts; ++i)
        EXPECT_GE(score[t * kParts + got.order[t * kParts + i - 1]], score[t * kParts + got.order[t * kParts + i]]);
    }
    EXPECT_EQ(got.count[4], 0u);
  }
}

}  // namespace
}  // namespace hunch
