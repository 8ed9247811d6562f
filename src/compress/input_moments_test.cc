#include "compress/input_moments.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace hunch {
namespace {

// Wider than a block of rows, and not whole blocks; tokens in several calls, of views whose rows lie apart.
TEST(InputMoments, SumTheProductsOfAllTokens) {
  Compute compute(2);
  constexpr size_t kIn = 600, kStride = 611, kTokens = 37;
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(kTokens * kStride);
  for (float& v : x) v = normal(rng);
  InputMoments moments(compute);
  for (const auto& [from, n] : {std::pair<size_t, size_t>{0, 20}, {20, 1}, {21, 16}})
    moments.on_heads(3, MatView<const float>(&x[from * kStride], n, kIn, kStride));
  const InputMoment& got = moments.of({.layer = 3, .role = Role::kHeads});
  ASSERT_EQ(got.n_tokens, kTokens);
  for (size_t r = 0; r < kIn; ++r) {
    double magnitude = 0;
    for (size_t t = 0; t < kTokens; ++t) magnitude += std::abs(x[t * kStride + r]);
    EXPECT_NEAR(got.magnitudes[r], magnitude, 1e-4);
    for (size_t c = 0; c < kIn; ++c) {
      double sum = 0;
      for (size_t t = 0; t < kTokens; ++t) sum += double(x[t * kStride + r]) * x[t * kStride + c];
      ASSERT_NEAR(got.sum.row(r)[c], sum, 1e-4) << r << ", " << c;
      ASSERT_EQ(got.sum.row(r)[c], got.sum.row(c)[r]);
    }
  }
}

}  // namespace
}  // namespace hunch
