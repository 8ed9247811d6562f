#include "kernels/gemm_bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/half.h"
#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

struct Sizes {
  size_t n, k, m;
};

// A matrix as it is or turned, rows three values apart from each other.
struct Given {
  std::vector<float> values;
  MatView<const float> view;
  Given(size_t rows, size_t cols, bool turned, uint32_t seed) {
    const size_t r = turned ? cols : rows, c = turned ? rows : cols;
    values = normal_values(r * (c + 3), seed);
    view = {values.data(), r, c, c + 3};
  }
};

void expect_product(Compute& compute, Sizes s, bool A_turned, bool B_turned, bool adds) {
  SCOPED_TRACE(std::to_string(s.n) + " x " + std::to_string(s.k) + " x " + std::to_string(s.m) +
               (A_turned ? " A turned" : "") + (B_turned ? " B turned" : "") + (adds ? " adds" : ""));
  const Given A(s.n, s.k, A_turned, 1), B(s.k, s.m, B_turned, 2);
  const size_t stride = s.m + 5;
  const std::vector<float> before = normal_values(s.n * stride, 3);
  std::vector<float> got = before, want = before;
  const auto product = [&](std::vector<float>& to) {
    return Bf16Product{A.view, B.view, A_turned, B_turned, adds, MatView<float>(to.data(), s.n, s.m, stride)};
  };
  multiply_bf16(compute, product(got));
  ref::multiply_bf16(product(want));
  for (size_t t = 0; t < s.n; ++t)
    for (size_t c = 0; c < stride; ++c) {
      const size_t at = t * stride + c;
      if (c >= s.m) {
        ASSERT_EQ(got[at], before[at]) << "wrote beyond its columns";
        continue;
      }
      double sum = std::fabs(before[at]);
      for (size_t k = 0; k < s.k; ++k)
        sum += std::fabs(double(A_turned ? A.view.row(k)[t] : A.view.row(t)[k]) *
                         (B_turned ? B.view.row(c)[k] : B.view.row(k)[c]));
      ASSERT_NEAR(got[at], want[at], 1e-6 * sum + 1e-30) << "row " << t << " column " << c;
    }
}

TEST(GemmBf16, MatchesTheReferenceOnEveryTarget) {
  Compute compute(3);
  size_t n_targets = 0;
  for_each_target([&] {
    if (!multiplies_bf16()) return;
    ++n_targets;
    for (const Sizes s : {Sizes{1, 1, 1},
                          {12, 32, 32},
                          {13, 33, 31},
                          {5, 255, 33},
                          {25, 257, 65},
                          {40, 513, 290},
                          {3, 2, 300},
                          {9, 0, 4},
                          {64, 64, 16}})
      for (const int form : {0, 1, 2, 3})
        for (const bool adds : {false, true}) expect_product(compute, s, form & 1, form & 2, adds);
  });
  if (n_targets == 0) GTEST_SKIP() << "no bf16 products here";
}

TEST(GemmBf16, DoesNotDependOnTheNumberOfThreads) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no bf16 products here";
  const Given A(50, 300, false, 1), B(300, 700, true, 2);
  std::vector<std::vector<float>> results;
  for (const size_t n_threads : {1, 2, 5}) {
    Compute compute(n_threads);
    std::vector<float>& Y = results.emplace_back(50 * 700);
    multiply_bf16(compute, {A.view, B.view, false, true, false, MatView<float>(Y.data(), 50, 700)});
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(GemmBf16, RoundsToNearestEven) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no bf16 products here";
  Compute compute(1);
  const std::vector<float> one(1, 1.0f);
  for (const float value : {1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1.8p-8f, -3.14159f, 1e30f, 0x1p-120f}) {
    float y = 0;
    multiply_bf16(compute, {MatView<const float>(&value, 1, 1), MatView<const float>(one.data(), 1, 1), false, false,
                            false, MatView<float>(&y, 1, 1)});
    EXPECT_EQ(y, to_f32(to_bf16(value))) << value;
  }
}

}  // namespace
}  // namespace hunch
