#include "select/balanced_assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "io/golden_arrays.h"
#include "select/routing.h"

namespace hunch {
namespace {

double total_of(MatView<const float> scores, const std::vector<uint32_t>& expert) {
  double total = 0;
  for (size_t t = 0; t < scores.rows; ++t) total += scores.row(t)[expert[t]];
  return total;
}

uint32_t largest_load(const std::vector<uint32_t>& expert, size_t n_expert) {
  std::vector<uint32_t> load(n_expert);
  for (uint32_t e : expert) ++load.at(e);
  return *std::ranges::max_element(load);
}

std::vector<float> random_scores(size_t n, uint32_t seed, bool ties) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = ties ? std::round(normal(rng)) : normal(rng);
  return x;
}

TEST(BalancedAssignment, IsOptimalAgainstAllPermutations) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    const size_t n_tokens = 1 + seed % 6, n_expert = 1 + seed / 6 % 3;
    const size_t capacity = (n_tokens + n_expert - 1) / n_expert;
    const std::vector<float> x = random_scores(n_tokens * n_expert, seed, seed % 2);
    const MatView<const float> scores(x.data(), n_tokens, n_expert);
    std::vector<uint32_t> all(n_tokens), got;
    double best = -1e30;
    for (size_t code = 0; code < size_t(std::pow(n_expert, n_tokens)); ++code) {
      for (size_t t = 0, rest = code; t < n_tokens; ++t, rest /= n_expert) all[t] = uint32_t(rest % n_expert);
      if (largest_load(all, n_expert) <= capacity) best = std::max(best, total_of(scores, all));
    }
    assign_balanced(scores, Balance::kOptimal, got);
    EXPECT_NEAR(total_of(scores, got), best, 1e-6) << seed;
  }
}

TEST(BalancedAssignment, NeverOverloadsAndGreedyAndAuctionComeNearTheOptimum) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const size_t n_tokens = seed < 2 ? seed : 7 * seed, n_expert = 1 + seed % 9;
    const bool ties = seed % 3 == 0;
    const std::vector<float> x = random_scores(n_tokens * n_expert, seed, ties);
    const MatView<const float> scores(x.data(), n_tokens, n_expert);
    std::vector<uint32_t> optimal, other;
    assign_balanced(scores, Balance::kOptimal, optimal);
    for (Balance balance : {Balance::kOptimal, Balance::kAuction, Balance::kGreedy}) {
      assign_balanced(scores, balance, other);
      ASSERT_EQ(other.size(), n_tokens);
      if (n_tokens == 0) continue;
      EXPECT_LE(largest_load(other, n_expert), (n_tokens + n_expert - 1) / n_expert) << seed;
      EXPECT_LE(total_of(scores, other), total_of(scores, optimal) + 1e-4) << seed;
      EXPECT_GE(total_of(scores, other), total_of(scores, optimal) - 0.15 * double(n_tokens)) << seed;
    }
  }
}

TEST(BalancedAssignment, EqualScoresEndToo) {
  const std::vector<float> x(24, 1.0f);
  std::vector<uint32_t> expert;
  for (Balance balance : {Balance::kOptimal, Balance::kAuction, Balance::kGreedy}) {
    assign_balanced({x.data(), 8, 3}, balance, expert);
    EXPECT_EQ(largest_load(expert, 3), 3u);
  }
}

TEST(BalancedAssignment, WeighsByTheSigmoidOfTheScore) {
  const std::vector<float> x = {2, 1, 1, 0};
  ExpertChoices out;
  choose_balanced({x.data(), 2, 2}, Balance::kOptimal, out);
  for (size_t t = 0; t < 2; ++t) EXPECT_FLOAT_EQ(out.weight[t], 1 / (1 + std::exp(-x[t * 2 + out.expert[t]])));
  Routing routing;
  route_all(out, routing);
  EXPECT_EQ(routing.load, (std::vector<uint32_t>{1, 1}));
}

TEST(Sinkhorn, BalancesAndSurvivesExtremeLogits) {
  std::vector<float> x = random_scores(60, 1, false), y(60);
  for (float& v : x) v *= 3;
  for (size_t e = 0; e < 5; ++e) x[e] += 2000, x[5 + e] -= 2000;
  sinkhorn({x.data(), 12, 5}, MatView<float>(y.data(), 12, 5), 1e-9);
  for (size_t t = 0; t < 12; ++t) {
    EXPECT_NEAR(std::accumulate(&y[t * 5], &y[t * 5 + 5], 0.0), 1.0 / 12, 1e-5) << t;
  }
  for (size_t e = 0; e < 5; ++e) {
    double sum = 0;
    for (size_t t = 0; t < 12; ++t) sum += y[t * 5 + e];
    EXPECT_NEAR(sum, 0.2, 1e-5) << e;
  }
}

TEST(Sinkhorn, WeighsAsMegatronDoes) {
  std::vector<float> logits = {1, 2, 3};
  const std::vector<float> balanced = {0.3f, 0.1f, 0.2f};
  ExpertChoices out;
  choose_from_sinkhorn({logits.data(), 1, 3}, {balanced.data(), 1, 3}, 1, out);
  EXPECT_EQ(out.expert, (std::vector<uint32_t>{0}));
  EXPECT_FLOAT_EQ(out.weight[0], 1 / (1 + std::exp(-1.0f)));
  logits = {1, 2, 3};
  choose_from_sinkhorn({logits.data(), 1, 3}, {balanced.data(), 1, 3}, 2, out);
  EXPECT_EQ(out.expert, (std::vector<uint32_t>{0, 2}));
  EXPECT_FLOAT_EQ(out.weight[1], std::exp(2.0f) / (1 + std::exp(1.0f) + std::exp(2.0f)));
}

TEST(BalancedAssignment, MatchesGoldenArrays) {
  const auto path = shared_path("golden/algos2/moe_routing.json");
  if (!path) GTEST_SKIP() << "needs golden/algos2";
  const GoldenArrays golden(path->parent_path() / "moe_routing");
  for (const std::string name : {"base_a", "base_b", "base_c"}) {
    SCOPED_TRACE(name);
    const auto& settings = golden.configs().at(name);
    const auto x = golden.get<float>(name + ".scores");
    const MatView<const float> scores(x.values.data(), x.shape[0], x.shape[1]);
    std::vector<uint32_t> expert;
    assign_balanced(scores, Balance::kOptimal, expert);
    EXPECT_EQ(expert, golden.get<uint32_t>(name + ".expert").values);
    EXPECT_NEAR(total_of(scores, expert), settings["optimal_total"].get<double>(), 1e-4);
    assign_balanced(scores, Balance::kAuction, expert);
    EXPECT_EQ(expert, golden.get<uint32_t>(name + ".auction_expert").values);

    // What BASE layers do at test time: unbalanced.
    ExpertGateConfig config;
    config.score = RouterScore::kSigmoid;
    ExpertChoices choices;
    ExpertGate().choose(config, scores, choices);
    EXPECT_EQ(choices.expert, golden.get<uint32_t>(name + ".greedy_expert").values);

    const auto want = golden.get<float>(name + ".sinkhorn");
    std::vector<float> balanced(want.values.size()), logits = x.values;
    const MatView<float> view(balanced.data(), scores.rows, scores.cols);
    EXPECT_EQ(sinkhorn(scores, view), settings["sinkhorn_iterations"].get<size_t>());
    for (size_t i = 0; i < balanced.size(); ++i) EXPECT_NEAR(balanced[i], want.values[i], 1e-7) << i;
    choose_from_sinkhorn({logits.data(), scores.rows, scores.cols}, view, 1, choices);
    EXPECT_EQ(choices.expert, golden.get<uint32_t>(name + ".sinkhorn_expert").values);
  }
}

}  // namespace
}  // namespace hunch
