#include "select/magnitude.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace hunch {
namespace {

TEST(SelectMagnitude, MatchesALoopAndTheMaskKeepsTheSameEntries) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  Rows out;
  for (size_t n : {0, 1, 7, 64, 1023, 1024, 1025, 3000}) {
    std::vector<float> x(n);
    for (float& v : x) v = std::round(normal(rng) * 8) / 8;  // many equal to a threshold
    for (float threshold : {-1.0f, 0.0f, 0.5f, 1.25f, std::numeric_limits<float>::infinity()}) {
      std::vector<uint32_t> want;
      for (uint32_t i = 0; i < n; ++i)
        if (std::fabs(x[i]) > threshold) want.push_back(i);
      select_magnitude(x, threshold, out);
      EXPECT_EQ(std::vector<uint32_t>(out.ids().begin(), out.ids().end()), want) << n << " above " << threshold;
      EXPECT_EQ(out.n_total(), n);
    }
  }
}

TEST(SelectMagnitude, NaNIsSelected) {
  std::vector<float> x = {0, std::numeric_limits<float>::quiet_NaN(), -3};
  Rows out;
  select_magnitude(x, std::numeric_limits<float>::infinity(), out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out.ids()[0], 1u);
}

}  // namespace
}  // namespace hunch
