#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace hunch {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Logits whose softmax is p.
std::vector<float> logits_of(const std::vector<double>& p) {
  std::vector<float> logits;
  for (double v : p) logits.push_back(float(std::log(v)) + 3.0f);
  return logits;
}

// Pearson's statistic of n draws against the expected distribution.
double chi_square(Sampler& sampler, const std::vector<float>& logits, const std::vector<double>& expected, int n) {
  std::vector<int> counts(expected.size(), 0);
  for (int i = 0; i < n; ++i) ++counts[size_t(sampler.sample(logits, {}))];
  double chi = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " was cut";
    } else {
      chi += (counts[i] - n * expected[i]) * (counts[i] - n * expected[i]) / (n * expected[i]);
    }
  }
  return chi;
}

const std::vector<double> kP = {0.05, 0.4, 0.1, 0.3, 0.15};

// 99.99 % quantiles of chi-square: 4 degrees of freedom 23.5, 3: 21.1, 2: 18.4, 1: 15.1.
TEST(Sampler, DrawsFromTheModelsDistribution) {
  Sampler sampler({.seed = 1});
  EXPECT_LT(chi_square(sampler, logits_of(kP), kP, 20000), 23.5);
}

TEST(Sampler, TemperatureSharpens) {
  Sampler sampler({.temperature = 0.5f, .seed = 2});
  std::vector<double> p;
  double sum = 0;
  for (double v : kP) sum += v * v;
  for (double v : kP) p.push_back(v * v / sum);
  EXPECT_LT(chi_square(sampler, logits_of(kP), p, 20000), 23.5);
}

TEST(Sampler, TopKKeepsTheBest) {
  Sampler sampler({.top_k = 2, .seed = 3});
  EXPECT_LT(chi_square(sampler, logits_of(kP), {0, 0.4 / 0.7, 0, 0.3 / 0.7, 0}, 20000), 15.1);
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  Sampler sampler({.top_p = 0.75f, .seed = 4});
  EXPECT_LT(chi_square(sampler, logits_of(kP), {0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85}, 20000), 18.4);
}

TEST(Sampler, MinPCutsBelowAShareOfTheBest) {
  Sampler sampler({.min_p = 0.3f, .seed = 5});  // 0.12
  EXPECT_LT(chi_square(sampler, logits_of(kP), {0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85}, 20000), 18.4);
}

TEST(Sampler, TypicalKeepsTheTokensNearestTheEntropy) {
  double entropy = 0;
  for (double v : kP) entropy -= v * std::log(v);
  // Distances |-log p - H| (H = 1.39): 1.60, 0.48, 0.91, 0.19, 0.50. In order: 3 (0.3), 1 (0.4), 4 (0.15).
  ASSERT_NEAR(entropy, 1.393, 1e-3);
  Sampler sampler({.typical_p = 0.69f, .seed = 6});
  EXPECT_LT(chi_square(sampler, logits_of(kP), {0, 0.4 / 0.7, 0, 0.3 / 0.7, 0}, 20000), 15.1);
}

TEST(Sampler, GreedyTakesTheSmallestOfEqualBests) {
  Sampler sampler({.temperature = 0});
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 5, 5, 2}, {}), 1);
  Sampler with_bias({.logit_bias = {{3, 4.0f}}, .temperature = 0});
  EXPECT_EQ(with_bias.sample(std::vector<float>{1, 5, 5, 2}, {}), 3);
}

TEST(Sampler, PenaltiesFollowTheirDefinitions) {
  const std::vector<float> logits = {2.0f, -2.0f, 1.0f};
  const std::vector<int32_t> history = {0, 0, 1};
  const auto odds = [&](SamplerOptions options) {
    Sampler sampler(options);
    const std::vector<float> p = sampler.distribution(logits, history);
    return std::pair{std::log(p[0] / p[2]), std::log(p[1] / p[2])};
  };
  auto [a, b] = odds({.repeat_penalty = 2.0f});  // 2 / 2 and -2 * 2
  EXPECT_NEAR(a, 1.0f - 1.0f, 1e-5);
  EXPECT_NEAR(b, -4.0f - 1.0f, 1e-5);
  std::tie(a, b) = odds({.frequency_penalty = 0.5f});
  EXPECT_NEAR(a, 2.0f - 1.0f - 1.0f, 1e-5);
  EXPECT_NEAR(b, -2.0f - 0.5f - 1.0f, 1e-5);
  std::tie(a, b) = odds({.presence_penalty = 0.5f});
  EXPECT_NEAR(a, 2.0f - 0.5f - 1.0f, 1e-5);
  EXPECT_NEAR(b, -2.0f - 0.5f - 1.0f, 1e-5);
  std::tie(a, b) = odds({.presence_penalty = 0.5f, .penalty_last_n = 1});  // only the last token, 1
  EXPECT_NEAR(a, 2.0f - 1.0f, 1e-5);
  EXPECT_NEAR(b, -2.5f - 1.0f, 1e-5);
}

TEST(Sampler, EqualSeedsGiveEqualTokens) {
  const std::vector<float> logits = logits_of(kP);
  Sampler a({.seed = 9}), b({.seed = 9}), c({.seed = 10});
  std::vector<int32_t> x, y, z;
  for (int i = 0; i < 100; ++i) {
    x.push_back(a.sample(logits, {}));
    y.push_back(b.sample(logits, {}));
    z.push_back(c.sample(logits, {}));
  }
  EXPECT_EQ(x, y);
  EXPECT_NE(x, z);
}

TEST(Sampler, SurvivesExtremeLogits) {
  for (const std::vector<float>& logits : {std::vector<float>{-kInf, -kInf, -kInf}, {kInf, 0, kInf}, {NAN, 1, NAN}, {1e38f, -1e38f, 0}}) {
    for (float temperature : {0.0f, 0.01f, 1.0f}) {
      Sampler sampler({.temperature = temperature, .top_p = 0.9f, .min_p = 0.1f, .seed = 1});
      const int32_t id = sampler.sample(logits, {});
      EXPECT_GE(id, 0);
      EXPECT_LT(id, 3);
    }
  }
  Sampler forbids({.logit_bias = {{0, -kInf}}, .seed = 1});
  for (int i = 0; i < 100; ++i) EXPECT_NE(forbids.sample(std::vector<float>{9, 0, 0}, {}), 0);
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  for (SamplerOptions bad : {SamplerOptions{.temperature = -1}, SamplerOptions{.top_k = -1}, SamplerOptions{.top_p = 1.5f},
                             SamplerOptions{.min_p = -0.1f}, SamplerOptions{.typical_p = NAN}, SamplerOptions{.repeat_penalty = 0}})
    EXPECT_THROW(Sampler{bad}, Error);
}

TEST(LogProbs, AreThoseOfTheSoftmax) {
  const std::vector<float> logits = logits_of(kP);
  EXPECT_NEAR(log_prob(logits, 2), std::log(0.1), 1e-5);
  const auto top = top_log_probs(logits, 2);
  ASSERT_EQ(top.size(), 2u);
  EXPECT_EQ(top[0].id, 1);
  EXPECT_EQ(top[1].id, 3);
  EXPECT_NEAR(top[1].log_prob, std::log(0.3), 1e-5);
}

}  // namespace
}  // namespace hunch
