#include "select/prompt_statistic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace hunch {
namespace {

struct Tokens {
  Tokens(size_t rows, size_t cols, unsigned seed) : rows(rows), cols(cols), values(rows * cols) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    for (size_t t = 0; t < rows; ++t)
      for (size_t j = 0; j < cols; ++j)
        values[t * cols + j] = normal(rng) * float(t + 1);  // norms differ between tokens
  }
  MatView<const float> view() const { return {values.data(), rows, cols}; }
  size_t rows, cols;
  std::vector<float> values;
};

// s_j of the paper, in double precision.
std::vector<double> naive(const Tokens& z) {
  std::vector<double> s(z.cols);
  for (size_t t = 0; t < z.rows; ++t) {
    double norm = 0;
    for (float v : z.view().row(t)) norm += double(v) * v;
    for (size_t j = 0; j < z.cols && norm > 0; ++j) s[j] += std::pow(z.view().row(t)[j] / std::sqrt(norm), 2);
  }
  for (double& v : s) v = std::sqrt(v);
  return s;
}

TEST(PromptStatistic, IsTheNormOverTokensOfNormalisedActivations) {
  Compute compute(2);
  for (size_t cols : {1, 5, 64, 333}) {
    const Tokens z(21, cols, 3);
    const std::vector<double> want = naive(z);
    PromptStatistic statistic;
    statistic.add(compute, z.view().row_range(0, 9));  // in pieces
    statistic.add(compute, z.view().row_range(9, 12));
    EXPECT_EQ(statistic.n_tokens(), 21u);
    for (size_t j = 0; j < cols; ++j) EXPECT_NEAR(std::sqrt(statistic.squares()[j]), want[j], 1e-5 * want[j]);
    std::vector<uint32_t> best(cols);
    std::iota(best.begin(), best.end(), 0u);
    std::ranges::stable_sort(best, std::greater<>(), [&](uint32_t j) { return want[j]; });
    const size_t k = cols / 2;
    best.resize(k);
    std::ranges::sort(best);
    Rows out;
    statistic.select(k, out);
    EXPECT_EQ(std::vector<uint32_t>(out.ids().begin(), out.ids().end()), best);
  }
}

TEST(PromptStatistic, ALoudTokenCountsAsMuchAsAQuietOneAndASilentOneNothing) {
  Compute compute(1);
  const std::vector<float> z = {1000, 0, 0, /**/ 0, 1, 0, /**/ 0, 1, 0, /**/ 0, 0, 0};
  PromptStatistic statistic;
  statistic.add(compute, {z.data(), 4, 3});
  Rows out;
  statistic.select(1, out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out.ids()[0], 1u);
  EXPECT_EQ(std::vector<float>(statistic.squares().begin(), statistic.squares().end()), (std::vector<float>{1, 2, 0}));
}

TEST(PromptStatistic, SelectsEverythingBeforeTheFirstTokenAndAfterClear) {
  Compute compute(1);
  const Tokens z(3, 8, 1);
  PromptStatistic statistic;
  statistic.add(compute, z.view());
  Rows out;
  statistic.select(8, out);
  EXPECT_TRUE(out.is_all());
  statistic.clear();
  EXPECT_EQ(statistic.n_tokens(), 0u);
  statistic.select(2, out);
  EXPECT_TRUE(out.is_all());
}

}  // namespace
}  // namespace hunch
