#include "select/expert_gate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "io/golden_arrays.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

std::vector<float> random_logits(size_t n, uint32_t seed, bool ties) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> x(n);
  for (float& v : x) v = ties ? std::round(normal(rng)) : normal(rng);
  return x;
}

// Word for word what Forward::mixture did before gates were a thing of their own.
TEST(ExpertGate, WithDefaultsGivesTheBitsOfTheMixtureOfExperts) {
  constexpr size_t kTokens = 50, kExperts = 11, kUsed = 3;
  for (bool ties : {false, true})
    for (bool renormalise : {false, true}) {
      std::vector<float> logits = random_logits(kTokens * kExperts, 3, ties);
      ExpertChoices got;
      ExpertGateConfig config;
      config.k = kUsed;
      config.renormalise = renormalise;
      ExpertGate gate;
      gate.choose(config, {logits.data(), kTokens, kExperts}, got);
      for (size_t t = 0; t < kTokens; ++t) {
        const auto row = std::span(logits).subspan(t * kExperts, kExperts);
        softmax(row);
        std::vector<uint32_t> order(kExperts);
        std::iota(order.begin(), order.end(), 0u);
        std::ranges::stable_sort(order, std::greater<>(), [&](uint32_t e) { return row[e]; });
        float total = 0;
        for (size_t i = 0; i < kUsed; ++i) total += row[order[i]];
        for (size_t i = 0; i < kUsed; ++i) {
          EXPECT_EQ(got.expert[t * kUsed + i], order[i]) << t;
          EXPECT_EQ(got.weight[t * kUsed + i], row[order[i]] / (renormalise ? total : 1.0f)) << t;
        }
      }
    }
}

TEST(ExpertGate, BestOfPrefersLowerIdsAndIgnoresNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::vector<uint32_t> out(4);
  best_of(std::vector<float>{1, 2, 2, 1}, out);
  EXPECT_EQ(out, (std::vector<uint32_t>{1, 2, 0, 3}));
  best_of(std::vector<float>{nan, -inf, nan, 5}, out);
  EXPECT_EQ(out, (std::vector<uint32_t>{3, 1, 0, 2}));
}

TEST(ExpertGate, BiasChoosesAndDoesNotWeigh) {
  const std::vector<float> logits = {0, 0, 0}, bias = {0, 0, 1};
  ExpertGateConfig config;
  config.score = RouterScore::kSigmoid;
  config.bias = bias;
  config.scale = 3;
  ExpertChoices out;
  ExpertGate().choose(config, {logits.data(), 1, 3}, out);
  EXPECT_EQ(out.expert[0], 2u);
  EXPECT_EQ(out.weight[0], 1.5f);
}

TEST(ExpertGate, WeightsThatAllUnderflowStayZero) {
  const std::vector<float> logits = {-200, -300};
  ExpertGateConfig config;
  config.score = RouterScore::kSigmoid;
  config.k = 2;
  config.renormalise = true;
  ExpertChoices out;
  ExpertGate().choose(config, {logits.data(), 1, 2}, out);
  EXPECT_EQ(out.weight, (std::vector<float>{0, 0}));
}

// By hand: of 2, 1.9, 1, -3 with a jitter of 0.05, only 1.9 is near 2 ((2 - 1.9) / 2 = 0.05 <= 0.1); near 1.9 is
// itself.
TEST(ExpertGate, MixesSparsely) {
  const std::vector<float> logits = {1, 2, -3, 1.9f};
  ExpertGateConfig config;
  config.k = 3;
  config.score = RouterScore::kSparseMixer;
  config.jitter = 0.05f;
  ExpertChoices out;
  ExpertGate().choose(config, {logits.data(), 1, 4}, out);
  EXPECT_EQ(out.expert, (std::vector<uint32_t>{1, 3, 0}));
  EXPECT_NEAR(out.weight[0], 1 / (1 + std::exp(-0.1)), 1e-6);
  EXPECT_EQ(out.weight[1], 1);
  EXPECT_EQ(out.weight[2], 1);
  config.jitter = 10;  // all are near, but those that are taken
  ExpertGate().choose(config, {logits.data(), 1, 4}, out);
  EXPECT_NEAR(out.weight[0], 1 / (1 + std::exp(-0.1) + std::exp(-1.0) + std::exp(-5.0)), 1e-6);
  EXPECT_NEAR(out.weight[1], 1 / (1 + std::exp(-0.9) + std::exp(-4.9)), 1e-6);
}

// DeepSeek's own gate, and (expert_mask0) how Hugging Face's copy chooses.
TEST(ExpertGate, ChoosesAsDeepSeekDoes) {
  const auto path = shared_path("golden/algos2/moe_routing.json");
  if (!path) GTEST_SKIP() << "needs golden/algos2";
  const GoldenArrays golden(path->parent_path() / "moe_routing");
  size_t n_configs = 0;
  for (const auto& [name, settings] : golden.configs().items()) {
    if (!name.starts_with("deepseek")) continue;
    SCOPED_TRACE(name);
    ++n_configs;
    const auto logits = golden.get<float>(name + ".logits");
    const std::vector<float> bias =
        golden.has(name + ".bias") ? golden.get<float>(name + ".bias").values : std::vector<float>();
    ExpertGateConfig config;
    config.k = settings["k"];
    config.score = settings["score"] == "sigmoid" ? RouterScore::kSigmoid : RouterScore::kSoftmax;
    config.bias = bias;
    config.n_group = settings["n_groups"];
    config.n_group_used = settings["topk_groups"];
    config.group_best = bias.empty() ? 1 : 2;
    config.renormalise = config.score == RouterScore::kSigmoid;
    config.scale = settings["route_scale"];
    const MatView<const float> view(logits.values.data(), logits.shape[0], logits.shape[1]);
    ExpertChoices out;
    ExpertGate().choose(config, view, out);
    const auto expert = golden.get<uint32_t>(name + ".expert");
    const auto weight = golden.get<float>(name + ".weight");
    EXPECT_EQ(out.expert, expert.values);
    for (size_t i = 0; i < weight.values.size(); ++i) EXPECT_NEAR(out.weight[i], weight.values[i], 1e-6) << i;

    config.losing = LosingGroups::kZero;
    ExpertGate().choose(config, view, out);
    const auto mask0 = golden.get<uint32_t>(name + ".expert_mask0");
    const auto groups = golden.has(name + ".groups") ? golden.get<uint32_t>(name + ".groups") : GoldenArray<uint32_t>();
    for (size_t t = 0; t < view.rows; ++t) {
      // Experts of groups that lost tie at zero, and which of them is chosen is nobody's decision: compare the others.
      const auto chosen = [&](std::span<const uint32_t> experts) {
        std::vector<uint32_t> kept;
        for (uint32_t e : experts)
          if (std::ranges::count(groups.row(t), e / (view.cols / config.n_group))) kept.push_back(e);
        return kept;
      };
      EXPECT_EQ(chosen(std::span(out.expert).subspan(t * config.k, config.k)), chosen(mask0.row(t))) << t;
    }
  }
  EXPECT_EQ(n_configs, 6u);
}

}  // namespace
}  // namespace hunch
