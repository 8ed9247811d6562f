#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

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

// Pearson's statistic of n draws, at positions 0 to n - 1, against the expected distribution.
double chi_square(Sampler& sampler, const std::vector<float>& logits, const std::vector<double>& expected, int n) {
  std::vector<int> counts(expected.size(), 0);
  for (int i = 0; i < n; ++i) ++counts[size_t(sampler.sample(logits, {}, size_t(i)))];
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
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 5, 5, 2}, {}, 0), 1);
  Sampler with_bias({.logit_bias = {{3, 4.0f}}, .temperature = 0});
  EXPECT_EQ(with_bias.sample(std::vector<float>{1, 5, 5, 2}, {}, 0), 3);
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

// Only as many candidates are sorted as the cuts need: the same as sorting all of them.
TEST(Sampler, ALargeVocabularyIsCutAsIfItWereSorted) {
  constexpr size_t kVocab = 3000;
  std::mt19937_64 rng(5);
  for (const double spread : {0.2, 1.0, 4.0})
    for (const SamplerOptions& o : {SamplerOptions{},
                                    {.top_p = 0.95f},
                                    {.top_k = 300, .top_p = 0.9f},
                                    {.typical_p = 0.8f, .top_p = 0.9f},
                                    {.top_p = 0.99f, .min_p = 0.02f},
                                    {.min_p = 0.05f}}) {
      std::vector<float> logits(kVocab);
      for (float& l : logits) l = float(std::floor(spread * double(rng() % 1000) / 10) / 10);  // with ties
      std::vector<size_t> order(kVocab);
      std::iota(order.begin(), order.end(), size_t{0});
      std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return logits[i]; });
      std::vector<double> p;
      const auto normalise = [&] {
        const double sum = std::accumulate(p.begin(), p.end(), 0.0);
        for (double& v : p) v /= sum;
      };
      const auto cut_at = [&](double most) {
        double sum = 0;
        size_t n = 0;
        while (n < p.size() && sum < most) sum += p[n++];
        p.resize(n), order.resize(n);
      };
      if (o.top_k) order.resize(size_t(o.top_k));
      for (size_t i : order) p.push_back(std::exp(double(logits[i]) - logits[order[0]]));
      normalise();
      if (o.typical_p < 1) {
        double entropy = 0;
        for (double v : p) entropy -= v * std::log(v);
        std::vector<size_t> at(p.size());
        std::iota(at.begin(), at.end(), size_t{0});
        std::ranges::stable_sort(at, {}, [&](size_t i) { return float(std::abs(-std::log(p[i]) - entropy)); });
        double sum = 0;
        size_t n = 0;
        while (n < at.size() && sum < o.typical_p) sum += p[at[n++]];
        at.resize(n);
        std::ranges::sort(at);
        std::vector<double> kept;
        std::vector<size_t> ids;
        for (size_t i : at) kept.push_back(p[i]), ids.push_back(order[i]);
        p = kept, order = ids;
        normalise();
      }
      if (o.top_p < 1) cut_at(o.top_p), normalise();
      while (p.back() < o.min_p * p[0]) p.pop_back(), order.pop_back();
      normalise();
      Sampler sampler(o);
      const std::vector<float> got = sampler.distribution(logits, {});
      size_t differ = 0;
      std::vector<double> want(kVocab);
      for (size_t i = 0; i < order.size(); ++i) want[order[i]] = p[i];
      for (size_t i = 0; i < kVocab; ++i) differ += std::abs(got[i] - want[i]) > 1e-5 * want[i] + 1e-9;
      EXPECT_LE(differ,
                o.typical_p < 1 || o.top_p < 1 ? 2u : 0u);  // a sum that meets its limit to rounding may take one more
    }
}

TEST(Sampler, EqualSeedsGiveEqualTokens) {
  const std::vector<float> logits = logits_of(kP);
  Sampler a({.seed = 9}), b({.seed = 9}), c({.seed = 10});
  std::vector<int32_t> x, y, z;
  for (int i = 0; i < 100; ++i) {
    x.push_back(a.sample(logits, {}, size_t(i)));
    y.push_back(b.sample(logits, {}, size_t(i)));
    z.push_back(c.sample(logits, {}, size_t(i)));
  }
  EXPECT_EQ(x, y);
  EXPECT_NE(x, z);
}

// What is asked before, again or in between changes nothing; nor do seeds, positions and ids run into each other.
TEST(Sampler, ADrawBelongsToItsPosition) {
  const std::vector<float> logits = logits_of(kP), other(kP.size(), 0.0f);
  Sampler forwards({.seed = 4}), backwards({.seed = 4}), next_seed({.seed = 5});
  std::vector<int32_t> x, y;
  for (size_t i = 0; i < 200; ++i) x.push_back(forwards.sample(logits, {}, i));
  for (size_t i = 200; i-- > 0;) {
    backwards.sample(other, {}, i);
    y.push_back(backwards.sample(logits, {}, i));
  }
  std::ranges::reverse(y);
  EXPECT_EQ(x, y);
  size_t n_shifted = 0;
  for (size_t i = 0; i + 1 < 200; ++i) n_shifted += next_seed.sample(logits, {}, i) == x[i + 1];
  EXPECT_LT(n_shifted, 100u);  // by chance: sum of p squared, 0.29
}

// Two samplers of one seed and different distributions draw the same as often as the theorem says.
TEST(Sampler, EqualSeedsAgreeAsFarAsDistributionsDo) {
  constexpr size_t kVocab = 40, kDraws = 4000;
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  for (const float difference : {0.0f, 0.2f, 1.0f, 3.0f}) {
    std::vector<float> a(kVocab), b(kVocab);
    for (size_t i = 0; i < kVocab; ++i) a[i] = 2 * normal(rng), b[i] = a[i] + difference * normal(rng);
    Sampler x({.top_p = 0.95f, .seed = 3}), y({.top_p = 0.95f, .seed = 3});
    const std::vector<float> p = x.distribution(a, {}), q = y.distribution(b, {});
    double d = 0;
    for (size_t i = 0; i < kVocab; ++i) d += std::abs(double(p[i]) - double(q[i])) / 2;
    size_t n = 0;
    for (size_t i = 0; i < kDraws; ++i) n += x.sample(a, {}, i) == y.sample(b, {}, i);
    EXPECT_GT(double(n) / kDraws, (1 - d) / (1 + d) - 0.03) << d;
    EXPECT_LT(double(n) / kDraws, 1 - d + 0.03) << d;
  }
}

TEST(Sampler, SurvivesExtremeLogits) {
  for (const std::vector<float>& logits :
       {std::vector<float>{-kInf, -kInf, -kInf}, {kInf, 0, kInf}, {NAN, 1, NAN}, {1e38f, -1e38f, 0}}) {
    for (float temperature : {0.0f, 0.01f, 1.0f}) {
      Sampler sampler({.temperature = temperature, .top_p = 0.9f, .min_p = 0.1f, .seed = 1});
      const int32_t id = sampler.sample(logits, {}, 0);
      EXPECT_GE(id, 0);
      EXPECT_LT(id, 3);
    }
  }
  Sampler forbids({.logit_bias = {{0, -kInf}}, .seed = 1});
  for (int i = 0; i < 100; ++i) EXPECT_NE(forbids.sample(std::vector<float>{9, 0, 0}, {}, size_t(i)), 0);
}

// Whoever computes logits may leave out the others.
TEST(Sampler, TheLargestLogitsDecideWhereItSaysSo) {
  std::mt19937 random(5);
  std::vector<float> logits(700);
  for (float& l : logits) l = float(int(random() % 40)) / 4;  // many equals, also at the end of the k
  for (const SamplerOptions& options :
       {SamplerOptions{.temperature = 0}, SamplerOptions{.temperature = 0.7f, .top_k = 5}, SamplerOptions{.top_k = 90},
        SamplerOptions{.top_k = 30, .typical_p = 0.8f}, SamplerOptions{.top_k = 30, .top_p = 0.7f, .min_p = 0.2f}}) {
    const size_t n = n_deciding(options);
    ASSERT_EQ(n, options.temperature == 0 ? 1u : size_t(options.top_k));
    std::vector<uint32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, std::greater<float>(), [&](uint32_t i) { return logits[i]; });
    std::vector<float> largest(logits.size(), -kInf);
    for (size_t i = 0; i < n; ++i) largest[order[i]] = logits[order[i]];
    Sampler sampler(options);
    for (size_t position = 0; position < 200; ++position)
      ASSERT_EQ(sampler.sample(largest, {}, position), sampler.sample(logits, {}, position)) << n;
  }
  EXPECT_EQ(n_deciding({}), 0u);
  EXPECT_EQ(n_deciding({.repeat_penalty = 1.1f, .temperature = 0}), 0u);
  EXPECT_EQ(n_deciding({.logit_bias = {{1, 1}}, .top_k = 3}), 0u);
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  for (SamplerOptions bad :
       {SamplerOptions{.temperature = -1}, SamplerOptions{.top_k = -1}, SamplerOptions{.top_p = 1.5f},
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
