#include "compress/matrix/awq.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace hunch {
namespace {

TEST(Awq, ScalesAreAPowerOfTheMeansAroundOne) {
  const std::vector<float> x = {4, 1, 16};
  EXPECT_EQ(awq_scales(x, {}, 0), (std::vector<float>{1, 1, 1}));
  const std::vector<float> s = awq_scales(x, {}, 0.5);  // 2, 1, 4 over 2
  EXPECT_FLOAT_EQ(s[0], 1);
  EXPECT_FLOAT_EQ(s[1], 0.5f);
  EXPECT_FLOAT_EQ(s[2], 2);
  const std::vector<float> none = awq_scales(std::vector<float>{0, 1}, {}, 0.5);  // a dead input: 1e-4 and 1 over 0.01
  EXPECT_NEAR(none[0], 0.01f, 1e-6f);
  EXPECT_NEAR(none[1], 100, 1e-3f);
  Matrix W(2, 4);
  W.values = {1, -2, 3, 0, 0.5f, 1, 0, 4};
  const Matrix* const one[] = {&W};
  const std::vector<float> mean = relative_weight_means(one, 2);
  EXPECT_NEAR(mean[0], 0.5f, 1e-5f);
  EXPECT_NEAR(mean[3], 0.5f, 1e-5f);
}

TEST(Awq, TheSearchTakesTheLeastLoss) {
  const std::vector<float> x = {1, 4};
  size_t n = 0;
  const AwqScales best = search_awq_scales(x, {}, [&](std::span<const float>) { return std::abs(double(n++) - 7); });
  EXPECT_DOUBLE_EQ(best.ratio, 0.35);
  EXPECT_EQ(best.losses.size(), 20u);
  EXPECT_EQ(best.scales, awq_scales(x, {}, 0.35));
}

TEST(Awq, RoundsFromMinToMax) {
  std::vector<float> w = {0, 0.4f, 2.4f, 3, 10, 10, 10, 10};
  round_min_max(w, 2, 4);
  EXPECT_TRUE(std::ranges::equal(std::span(w).first(4), std::vector<float>{0, 0, 2, 3}));
  for (float v : std::span(w).last(4)) EXPECT_NEAR(v, 0, 1e-4f) << "codes of a group without 0 do not reach it";
}

struct Case {
  Matrix W, M;
  std::vector<float> x_mean;
};

// A few inputs are large, as in language models: what AWQ is for.
Case salient_case() {
  std::mt19937 rng(4);
  std::normal_distribution<float> normal;
  Case c{Matrix(16, 64), Matrix(64, 64), std::vector<float>(64)};
  for (float& w : c.W.values) w = normal(rng);
  for (size_t t = 0; t < 300; ++t) {
    std::vector<float> x(64);
    for (size_t i = 0; i < 64; ++i) x[i] = normal(rng) * (i % 13 == 5 ? 20 : 1);
    for (size_t i = 0; i < 64; ++i) c.x_mean[i] += std::abs(x[i]) / 300;
    for (size_t i = 0; i < 64; ++i)
      for (size_t j = 0; j < 64; ++j) c.M.row(i)[j] += x[i] * x[j];
  }
  return c;
}

TEST(Awq, ScalingSparesWhatSalientInputsMeet) {
  Compute compute(2);
  const Case c = salient_case();
  const RoundWeights round = [](std::span<float> w) { round_min_max(w, 3, 32); };
  const auto loss = [&](std::span<const float> s) {
    return output_error(compute, rounded_as_scaled(compute, c.W, s, round), c.W, c.M);
  };
  const AwqScales best = search_awq_scales(c.x_mean, {}, loss);
  EXPECT_GT(best.ratio, 0);
  EXPECT_LT(loss(best.scales), 0.6 * best.losses[0]);
}

TEST(Awq, ClippingIsNeverWorse) {
  Compute compute(2);
  const Case c = salient_case();
  const RoundWeights round = [](std::span<float> w) { round_min_max(w, 3, w.size()); };
  const Matrix clips = search_clips(compute, c.W, c.M, 32, round);
  ASSERT_EQ(clips.cols, 2u);
  Matrix clipped = c.W;
  apply_clips(clips, clipped);
  double before = 0, after = 0;
  size_t n_clipped = 0;
  for (size_t r = 0; r < c.W.rows; ++r)
    for (size_t g = 0; g < 2; ++g) {
      std::vector<float> e(32),
          plain(c.W.row(r).begin() + ptrdiff_t(g * 32), c.W.row(r).begin() + ptrdiff_t(g * 32 + 32));
      const std::vector<float> w = plain;
      std::vector<float> q(clipped.row(r).begin() + ptrdiff_t(g * 32), clipped.row(r).begin() + ptrdiff_t(g * 32 + 32));
      n_clipped += q != w;
      round(plain);
      round(q);
      const auto error = [&](const std::vector<float>& v) {
        double sum = 0;
        for (size_t i = 0; i < 32; ++i)
          for (size_t j = 0; j < 32; ++j) sum += double(v[i] - w[i]) * c.M.row(g * 32 + i)[g * 32 + j] * (v[j] - w[j]);
        return sum;
      };
      EXPECT_LE(error(q), error(plain) * (1 + 1e-9));
      before += error(plain), after += error(q);
    }
  EXPECT_GT(n_clipped, 4u);
  EXPECT_LT(after, 0.95 * before);
}

}  // namespace
}  // namespace hunch
