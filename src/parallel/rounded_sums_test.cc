#include "parallel/rounded_sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <thread>

#include "parallel/thread_ranks.h"

namespace hunch {
namespace {

std::vector<float> part(size_t n, size_t rank) {
  std::mt19937 rng(uint32_t(rank) + 1);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

// Each rank's sum of its part and the others'.
template <class Part>
std::vector<std::vector<float>> sums_of(size_t n_ranks, const Part& part) {
  const auto ranks = thread_ranks(n_ranks, 30);
  std::vector<std::vector<float>> sums(n_ranks);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < n_ranks; ++r)
    threads.emplace_back([&, r] {
      RoundedSums rounded(*ranks[r]);
      sums[r] = part(r);
      rounded.sum(sums[r]);
    });
  for (std::thread& thread : threads) thread.join();
  return sums;
}

TEST(RoundedSums, AreNearAndTheSameOnAll) {
  for (const size_t n_ranks : {1, 2, 3, 4, 7})
    for (const size_t n : {RoundedSums::kLeast, RoundedSums::kLeast + 1, size_t{5000}, size_t{8191}}) {
      const auto sums = sums_of(n_ranks, [&](size_t r) { return part(n, r); });
      for (size_t r = 1; r < n_ranks; ++r) EXPECT_EQ(sums[r], sums[0]) << n_ranks << ", " << n;
      std::vector<double> want(n);
      double most = 0, worst = 0;
      for (size_t r = 0; r < n_ranks; ++r) {
        const std::vector<float> x = part(n, r);
        for (size_t i = 0; i < n; ++i) want[i] += double(x[i]);
      }
      for (size_t i = 0; i < n; ++i) {
        most = std::max(most, std::abs(want[i]));
        worst = std::max(worst, std::abs(double(sums[0][i]) - want[i]));
      }
      // Half a step of each part, whose largest number is below 5, and of the sum.
      EXPECT_LT(worst, 0.5 / 127 * (5 * double(n_ranks) + most)) << n_ranks << ", " << n;
      EXPECT_GT(worst, 1e-3) << "nothing was rounded";
    }
}

TEST(RoundedSums, ShortOnesAreExact) {
  const size_t n = RoundedSums::kLeast - 1;
  const auto sums = sums_of(2, [&](size_t r) { return part(n, r); });
  const std::vector<float> a = part(n, 0), b = part(n, 1);
  for (size_t i = 0; i < n; ++i) EXPECT_EQ(sums[1][i], a[i] + b[i]);
}

TEST(RoundedSums, NumbersThatAreNoneAreNotHidden) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const size_t n_ranks : {2, 3}) {
      const auto sums = sums_of(n_ranks, [&](size_t r) {
        std::vector<float> x = part(RoundedSums::kLeast, r);
        if (r == 1) x[100] = bad;
        return x;
      });
      for (const auto& sum : sums) {
        EXPECT_FALSE(std::isfinite(sum[100]));
        EXPECT_TRUE(std::isfinite(sum[95]));
        EXPECT_TRUE(std::isfinite(sum[128]));
      }
    }
}

TEST(RoundedSums, OfZeros) {
  for (const auto& sum : sums_of(2, [](size_t) { return std::vector<float>(RoundedSums::kLeast); }))
    EXPECT_EQ(sum, std::vector<float>(RoundedSums::kLeast));
}

}  // namespace
}  // namespace hunch
