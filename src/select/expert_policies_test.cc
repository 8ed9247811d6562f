#include "select/expert_policies.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "io/test_errors.h"
#include "select/expert_selectors.h"

namespace hunch {
namespace {

TEST(ExpertPolicies, AnErrorNamesWhatWasExpectedAndFound) {
  const auto refusal = [](const char* text) {
    return message_of(ErrorKind::kUsage, [&] { expert_policy_from(text); });
  };
  for (const char* text : {"top:2", "capacity:1.25", "prioritised:2", "choice:1", "balanced", "sinkhorn"})
    EXPECT_NO_THROW(expert_policy_from(text)) << text;
  EXPECT_NE(refusal("best:2").find("expected top:1, capacity:1.25, prioritised:1.25, choice:1, balanced, sinkhorn"),
            std::string::npos);
  for (const char* text : {"top", "top:", "top:2x", "balanced:1", "capacity", "sinkhorn:"})
    EXPECT_NE(refusal(text).find("expected"), std::string::npos) << text;
  EXPECT_NE(refusal("top:1.5").find("top 1.5"), std::string::npos);
  EXPECT_NE(refusal("top:0").find("top 0"), std::string::npos);
  EXPECT_NE(refusal("capacity:0").find("factor of 0"), std::string::npos);
  EXPECT_NE(refusal("choice:nan").find("factor of nan"), std::string::npos);
}

struct Routed {
  Routing routing;
  std::vector<float> logits;
};

constexpr size_t kTokens = 32, kExperts = 8;

// Most tokens like the same experts.
Routed routed(const char* policy, const ExpertGateConfig& gate, size_t n_tokens = kTokens) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  Routed out;
  for (size_t i = 0; i < n_tokens * kExperts; ++i) out.logits.push_back(normal(rng) + 1.0f / float(1 + i % kExperts));
  std::vector<float> copy = out.logits;
  RoutingMemory memory;
  expert_policy_from(policy)->route(gate, {copy.data(), n_tokens, kExperts}, memory, out.routing);
  return out;
}

TEST(ExpertPolicies, LoadsAreAsAsked) {
  const ExpertGateConfig gate{.k = 2, .renormalise = true};
  const auto most = [](const Routing& r) { return *std::ranges::max_element(r.load); };
  EXPECT_EQ(routed("top:3", gate).routing.routes.size(), 3 * kTokens);
  EXPECT_EQ(most(routed("capacity:1", gate).routing), 8u);
  EXPECT_EQ(most(routed("prioritised:1.25", gate).routing), 10u);
  EXPECT_GT(most(routed("capacity:100", gate).routing), 10u) << "else nothing was limited above";
  EXPECT_EQ(routed("choice:1", gate).routing.load, std::vector<uint32_t>(kExperts, 8));
  EXPECT_EQ(routed("choice:0.5", gate).routing.load, std::vector<uint32_t>(kExperts, 4));
  EXPECT_EQ(routed("balanced", gate).routing.load, std::vector<uint32_t>(kExperts, 8));
  EXPECT_LE(most(routed("sinkhorn", gate).routing), 11u);
  EXPECT_GT(most(routed("top:2", gate).routing), 12u) << "else there was nothing to balance";
  for (const char* policy : {"balanced", "sinkhorn"})
    EXPECT_EQ(routed(policy, gate).routing.n_experts_of, std::vector<uint32_t>(kTokens, 2)) << policy;
}

// softmax of the token's logits, over the sum of what it got where the model does so.
TEST(ExpertPolicies, WeightsFollowTheModelsGate) {
  for (const bool renormalise : {false, true})
    for (const char* policy : {"choice:1", "balanced", "sinkhorn"}) {
      const auto got = routed(policy, {.k = 2, .renormalise = renormalise, .scale = 3});
      for (const Route& r : got.routing.routes) {
        const auto weight = [&](uint32_t e) { return std::exp(double(got.logits[r.token * kExperts + e])); };
        double total = 0;
        if (renormalise) {
          for (const Route& other : got.routing.routes) total += other.token == r.token ? weight(other.expert) : 0;
        } else {
          for (uint32_t e = 0; e < kExperts; ++e) total += weight(e);
        }
        EXPECT_NEAR(r.weight, 3 * weight(r.expert) / total, 1e-5) << policy << ", token " << r.token;
      }
    }
}

TEST(ExpertPolicies, TooFewTokensToBalanceGoWhereTheirGateSays) {
  const ExpertGateConfig gate{.k = 2};
  const Routing as_trained = routed("top:2", gate, 3).routing;
  for (const char* policy : {"choice:4", "balanced", "sinkhorn"})
    EXPECT_EQ(routed(policy, gate, 3).routing.routes, as_trained.routes) << policy;
}

}  // namespace
}  // namespace hunch
