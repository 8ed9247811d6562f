#include "kernels/cut_off.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

TEST(CutOff, IsTheReferenceOnEveryTarget) {
  std::mt19937 rng(4);
  std::normal_distribution<float> normal(0.3f, 2.0f);
  for_each_target([&] {
    for (const size_t n : {1, 3, 16, 17, 48, 255, 4096}) {
      for (const float deviations : {-0.5f, 0.0f, 1.2815516f, 1.6448534f}) {
        std::vector<float> x(n), want;
        for (float& v : x) v = normal(rng);
        want = x;
        cut_off(x, deviations);
        ref::cut_off(want, deviations);
        for (size_t i = 0; i < n; ++i) ASSERT_NEAR(x[i], want[i], 4e-6) << n << " " << i;
      }
    }
  });
}

// 1.2816 deviations leave a tenth of what is normally distributed; the rest is 0 and not nearly so.
TEST(CutOff, LeavesTheShareItSays) {
  std::mt19937 rng(5);
  std::normal_distribution<float> normal(-1.0f, 3.0f);
  std::vector<float> x(16384);
  for (float& v : x) v = normal(rng);
  cut_off(x, 1.2815516f);
  size_t n_left = 0;
  for (const float v : x) n_left += v != 0;
  EXPECT_NEAR(double(n_left) / double(x.size()), 0.1, 0.01);
}

TEST(CutOff, EqualValuesAreAllCutAndNothingIsHidden) {
  for_each_target([] {
    std::vector<float> same(40, 2.0f), empty;
    cut_off(same, 0.5f);
    EXPECT_EQ(same, std::vector<float>(40, 0.0f));
    cut_off(empty, 0.5f);
    std::vector<float> broken(40, 1.0f);
    broken[7] = NAN;
    cut_off(broken, 0.5f);
    EXPECT_TRUE(std::isnan(broken[7]) && std::isnan(broken[39]));
  });
}

}  // namespace
}  // namespace hunch
