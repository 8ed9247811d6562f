#include "select/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/golden_arrays.h"

namespace hunch {
namespace {

ExpertChoices choices_of(size_t n_tokens, size_t n_expert, std::vector<uint32_t> expert, std::vector<float> weight) {
  return {n_tokens, n_expert, expert.size() / n_tokens, expert, weight};
}

TEST(Routing, OfAllChoicesIsSortedByExpertThenToken) {
  Routing out;
  route_all(choices_of(3, 4, {2, 0, 2, 1, 0, 2}, {0.6f, 0.4f, 0.7f, 0.3f, 0.9f, 0.1f}), out);
  EXPECT_EQ(out.routes,
            (std::vector<Route>{{0, 0, 0.4f}, {2, 0, 0.9f}, {1, 1, 0.3f}, {0, 2, 0.6f}, {1, 2, 0.7f}, {2, 2, 0.1f}}));
  EXPECT_EQ(out.load, (std::vector<uint32_t>{2, 1, 3, 0}));
  EXPECT_EQ(out.refused, (std::vector<uint32_t>{0, 0, 0, 0}));
  EXPECT_EQ(out.n_dropped, 0u);
  route_all(choices_of(1, 2, {1}, {1}), out);  // nothing is left of the last step
  EXPECT_EQ(out.routes, (std::vector<Route>{{0, 1, 1}}));
}

TEST(Routing, WithinCapacityServesFirstChoicesFirst) {
  const ExpertChoices choices = choices_of(3, 2, {0, 1, 0, 1, 1, 0}, {0.6f, 0.4f, 0.9f, 0.1f, 0.8f, 0.2f});
  Routing out;
  route_within_capacity(choices, 1, QueueOrder::kByToken, out);
  EXPECT_EQ(out.routes, (std::vector<Route>{{0, 0, 0.6f}, {2, 1, 0.8f}}));
  EXPECT_EQ(out.refused, (std::vector<uint32_t>{2, 2}));
  EXPECT_EQ(out.n_experts_of, (std::vector<uint32_t>{1, 0, 1}));
  EXPECT_EQ(out.n_dropped, 1u);
  route_within_capacity(choices, 1, QueueOrder::kByWeight, out);
  EXPECT_EQ(out.routes, (std::vector<Route>{{1, 0, 0.9f}, {2, 1, 0.8f}}));
  route_within_capacity(choices, 0, QueueOrder::kByWeight, out);
  EXPECT_EQ(out.n_dropped, 3u);
}

TEST(Routing, ExpertsChooseEarlierTokensAmongEqualsAndNeverNaNFirst) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> logits = {0, 0, nan, nan, 0, 0, 0, 0};
  Routing out;
  route_expert_choice({logits.data(), 4, 2}, 2, out);
  EXPECT_EQ(out.routes, (std::vector<Route>{{0, 0, 0.5f}, {2, 0, 0.5f}, {0, 1, 0.5f}, {2, 1, 0.5f}}));
  logits.assign(8, 0.0f);
  route_expert_choice({logits.data(), 4, 2}, 9, out);
  EXPECT_EQ(out.load, (std::vector<uint32_t>{4, 4})) << "more than there are";
}

TEST(Routing, CapacityRoundsAsAsked) {
  EXPECT_EQ(expert_capacity(30, 5, 3, 0.8, false), 14u);
  EXPECT_EQ(expert_capacity(30, 5, 3, 0.8, true), 15u);
  EXPECT_EQ(expert_capacity(32, 4, 1, 1.0, true), 8u);
}

class RoutingGolden : public testing::Test {
 protected:
  void SetUp() override {
    const auto path = shared_path("golden/algos2/moe_routing.json");
    if (!path) GTEST_SKIP() << "needs golden/algos2";
    golden_ = std::make_unique<GoldenArrays>(path->parent_path() / "moe_routing");
  }

  // Runs check(name, settings) for the configurations whose name begins with `prefix`.
  template <class Check>
  void each(std::string_view prefix, size_t n_expected, Check&& check) {
    size_t n = 0;
    for (const auto& [name, settings] : golden_->configs().items()) {
      if (!name.starts_with(prefix)) continue;
      SCOPED_TRACE(name);
      ++n;
      check(name, settings);
    }
    EXPECT_EQ(n, n_expected);
  }

  std::unique_ptr<GoldenArrays> golden_;
};

ExpertChoices best_k(MatView<const float> logits, size_t k) {
  ExpertGateConfig config;
  config.k = k;
  ExpertChoices out;
  ExpertGate().choose(config, logits, out);
  return out;
}

// The experts that got `token`, -1 for those that refused it, in the order of its choices.
std::vector<int> served(const Routing& routing, const ExpertChoices& choices, size_t token) {
  std::vector<int> out;
  for (size_t i = 0; i < choices.k; ++i) {
    const uint32_t e = choices.expert[token * choices.k + i];
    const bool found =
        std::ranges::any_of(routing.routes, [&](const Route& r) { return r.token == token && r.expert == e; });
    out.push_back(found ? int(e) : -1);
  }
  return out;
}

TEST_F(RoutingGolden, SwitchTransformersDropWhatTheirsDrops) {
  each("switch", 4, [&](const std::string& name, const auto& settings) {
    const auto logits = golden_->get<float>(name + ".logits");
    const auto expert = golden_->get<int>(name + ".expert");
    const auto gate = golden_->get<float>(name + ".gate");
    const size_t capacity = expert_capacity(logits.shape[1], logits.shape[2], 1, settings["capacity_factor"], false);
    EXPECT_EQ(capacity, settings["capacity"].template get<size_t>());
    size_t n_dropped = 0;
    for (size_t g = 0; g < logits.shape[0]; ++g) {
      const ExpertChoices choices = best_k({logits.row(g).data(), logits.shape[1], logits.shape[2]}, 1);
      Routing out;
      route_within_capacity(choices, capacity, QueueOrder::kByToken, out);
      for (size_t t = 0; t < logits.shape[1]; ++t) {
        EXPECT_EQ(served(out, choices, t)[0], expert.row(g)[t]) << t;
        EXPECT_NEAR(choices.weight[t], gate.row(g)[t], 1e-6) << t;
      }
      n_dropped += out.n_dropped;
      uint32_t n_refused = 0;
      for (uint32_t n : out.refused) n_refused += n;
      EXPECT_EQ(n_refused, out.n_dropped);
    }
    EXPECT_EQ(n_dropped, settings["dropped"].template get<size_t>());
  });
}

TEST_F(RoutingGolden, CapacityWithSeveralChoicesInBothOrders) {
  each("topk_cap", 3, [&](const std::string& name, const auto& settings) {
    const auto logits = golden_->get<float>(name + ".logits");
    const auto expert = golden_->get<int>(name + ".expert");
    const auto slot = golden_->get<int>(name + ".slot");
    const auto weight = golden_->get<float>(name + ".weight");
    const ExpertChoices choices = best_k({logits.values.data(), logits.shape[0], logits.shape[1]}, settings["k"]);
    EXPECT_EQ(std::vector<int>(choices.expert.begin(), choices.expert.end()), expert.values);
    Routing out;
    route_within_capacity(choices, settings["capacity"],
                          settings["batch_prioritised"] ? QueueOrder::kByWeight : QueueOrder::kByToken, out);
    size_t n_refused = 0;
    for (size_t t = 0; t < logits.shape[0]; ++t)
      for (size_t i = 0; i < choices.k; ++i) {
        const bool kept = slot.row(t)[i] >= 0;
        n_refused += !kept;
        EXPECT_EQ(served(out, choices, t)[i], kept ? expert.row(t)[i] : -1) << t;
        if (kept) {
          EXPECT_NEAR(choices.weight[t * choices.k + i], weight.row(t)[i], 1e-6) << t;
        }
      }
    EXPECT_EQ(n_refused, settings["dropped"].template get<size_t>());
    EXPECT_EQ(out.routes.size() + n_refused, choices.expert.size());
  });
}

TEST_F(RoutingGolden, ExpertChoice) {
  each("expert_choice", 3, [&](const std::string& name, const auto& settings) {
    auto logits = golden_->get<float>(name + ".logits");
    const auto tokens = golden_->get<uint32_t>(name + ".tokens");
    const auto weight = golden_->get<float>(name + ".weight");
    const size_t n_tokens = logits.shape[0], n_expert = logits.shape[1], k = settings["k"];
    EXPECT_EQ(expert_capacity(n_tokens, n_expert, 1, settings["capacity_factor"], false), k);
    Routing out;
    route_expert_choice({logits.values.data(), n_tokens, n_expert}, k, out);
    ASSERT_EQ(out.routes.size(), n_expert * k);
    for (uint32_t e = 0; e < n_expert; ++e) {
      std::vector<std::pair<uint32_t, float>> want;
      for (size_t i = 0; i < k; ++i) want.emplace_back(tokens.row(e)[i], weight.row(e)[i]);
      std::ranges::sort(want);
      for (size_t i = 0; i < k; ++i) {
        EXPECT_EQ(out.routes[e * k + i].token, want[i].first) << e;
        EXPECT_NEAR(out.routes[e * k + i].weight, want[i].second, 1e-6) << e;
      }
    }
    EXPECT_EQ(out.n_experts_of, golden_->get<uint32_t>(name + ".experts_per_token").values);
    EXPECT_EQ(out.n_dropped, settings["untouched_tokens"].template get<size_t>());
  });
}

}  // namespace
}  // namespace hunch
