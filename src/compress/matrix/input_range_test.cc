#include "compress/matrix/input_range.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace hunch {
namespace {

constexpr RangeRule kRules[] = {RangeRule::kMax, RangeRule::kPercentile, RangeRule::kMse, RangeRule::kKl};

std::vector<float> normal_with(size_t n_outliers, float outlier) {
  std::mt19937 rng(4);
  std::normal_distribution<float> normal;
  std::vector<float> x(50000);
  for (float& v : x) v = normal(rng);
  for (size_t i = 0; i < n_outliers; ++i) x[i * 1000 + 7] = i % 2 ? outlier : -outlier;
  return x;
}

double squared_error(const std::vector<float>& x, float range) {
  double sum = 0;
  for (const float v : x) {
    const float scale = range / 127, code = std::min(127.0f, std::max(-127.0f, std::nearbyint(v / scale)));
    sum += std::pow(double(v - code * scale), 2);
  }
  return sum;
}

TEST(InputRange, OfAllIsTheLargest) {
  const std::vector<float> x = {1, -5, 2};
  EXPECT_EQ(input_range(x, RangeRule::kMax), 5);
  for (const RangeRule rule : kRules) {
    EXPECT_EQ(input_range(std::vector<float>(10), rule), 0) << name_of(rule);
    EXPECT_GT(input_range(x, rule), 0) << name_of(rule);
    EXPECT_LE(input_range(x, rule), 5) << name_of(rule);
  }
}

TEST(InputRange, APercentileLeavesTheLargestOut) {
  std::vector<float> x(20000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = i % 2 ? float(i + 1) : -float(i + 1);
  EXPECT_EQ(input_range(x, RangeRule::kPercentile), 19998) << "all but two of 20,000";
  EXPECT_EQ(input_range(std::vector<float>{3, 1}, RangeRule::kPercentile), 3);
}

TEST(InputRange, OfLeastSquaredErrorHasNoBetterNeighbour) {
  for (const float outlier : {0.0f, 20.0f}) {
    const std::vector<float> x = normal_with(3, outlier);
    const float most = input_range(x, RangeRule::kMax), range = input_range(x, RangeRule::kMse);
    for (int i = 1; i <= 100; ++i)
      EXPECT_LE(squared_error(x, range), squared_error(x, most * float(i) / 100) * 1.000001) << i;
  }
}

// A few values far out are given up for the rest by those rules that may.
TEST(InputRange, FewOutliersAreCutOff) {
  const std::vector<float> x = normal_with(2, 60);
  EXPECT_EQ(input_range(x, RangeRule::kMax), 60);
  EXPECT_LT(input_range(x, RangeRule::kPercentile), 6);
  EXPECT_LT(input_range(x, RangeRule::kKl), 10);
  EXPECT_GT(input_range(x, RangeRule::kKl), 2);
  // Without outliers hardly anything is.
  const std::vector<float> plain = normal_with(0, 0);
  EXPECT_GT(input_range(plain, RangeRule::kKl), 2.5f);
  EXPECT_GT(input_range(plain, RangeRule::kMse), 3);
}

}  // namespace
}  // namespace hunch
