// Mixtures of experts in whole passes: who computes what for whom, against sums in plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"
#include "base/sigmoid.h"
#include "linear/values.h"
#include "model/open_model.h"
#include "model/test_steps.h"
#include "select/expert_policies.h"

namespace hunch {
namespace {

using Floats = std::vector<float>;
using Policies = std::vector<std::string>;

const Policies kAll = {"",         "top:1",      "capacity:1", "capacity:0.5", "prioritised:0.5",
                       "choice:1", "choice:0.5", "balanced",   "sinkhorn"};

// What the first layer's mixture is given and gives.
struct Watch : Observer {
  void on_router(size_t layer, MatView<const float> logits) override {
    if (layer == 0) router.clear(), append_rows(logits, router);
  }
  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float>) override {
    for (size_t i = 0; layer0(place) && i < place.tokens.size(); ++i)
      inputs[place.tokens[i]] = Floats(mlp_in.row(i).begin(), mlp_in.row(i).end());
  }
  void on_branch(size_t layer, Branch branch, MatView<const float>, MatView<const float> out) override {
    if (layer == 0 && branch == Branch::kMlp) output.clear(), append_rows(out, output);
  }
  static bool layer0(const MlpPlace& place) { return place.layer == 0 && place.expert != LinearId::kShared; }

  Floats router, output;              // [n_tokens, n_expert], [n_tokens, n_embd]
  std::map<uint32_t, Floats> inputs;  // of every token that some expert got, [n_embd]
};

class ExpertsTest : public ::testing::TestWithParam<const char*> {
 protected:
  Plan plan(const std::string& policy) const {
    Plan plan = Plan::exact(c_);
    if (!policy.empty()) plan.set_experts(c_, expert_policy_from(policy));
    return plan;
  }
  std::vector<int32_t> ids_of(size_t n) const {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < n; ++i) ids.push_back(int32_t((i * 37 + 11) % c_.n_vocab));
    return ids;
  }
  // Logits of all tokens of a step of runs with these policies and lengths, each of a new sequence.
  Floats run(const Policies& policies, const std::vector<size_t>& lengths, Phase phase = Phase::kDecode,
             bool as_alone = false) {
    std::vector<Plan> plans;
    for (const std::string& policy : policies) plans.push_back(plan(policy));
    std::vector<hunch::Run> runs;
    size_t n = 0;
    for (size_t i = 0; i < policies.size(); n += lengths[i++])
      runs.push_back({cache_.create(), lengths[i], phase, &plans[i], as_alone});
    Transformer transformer(model_, cache_, compute_);
    transformer.observer = &watch_;
    const std::vector<int32_t> ids = ids_of(n);
    const std::vector<uint32_t> rows = rows_up_to(n);
    Floats logits;
    append_rows(transformer.run({ids, runs, rows}), logits);
    for (const hunch::Run& r : runs) cache_.release(r.sequence);
    return logits;
  }

  // act(gate x) * (up x), times down, in plain loops.
  Floats mlp(const Mlp& m, const Floats& x) {
    const auto times = [&](const Linear& linear, const Floats& in) {
      const Values values(compute_, linear);
      Floats rows(values.rows().rows * in.size()), out(values.rows().rows);
      decode_rows(compute_, values.rows(), {rows.data(), out.size(), in.size()});
      for (size_t i = 0; i < out.size(); ++i)
        for (size_t k = 0; k < in.size(); ++k) out[i] += rows[i * in.size() + k] * in[k];
      return out;
    };
    Floats act = times(*m.gate, x);
    const Floats ups = times(*m.up, x);
    for (size_t k = 0; k < act.size(); ++k) act[k] = act[k] * sigmoid(act[k]) * ups[k];  // SiLU
    return times(*m.down, act);
  }
  // The mixture of one run's tokens, by the routes of its policy.
  Floats mixture(const std::string& policy, const std::map<uint32_t, Floats>& inputs, Floats router, size_t first,
                 size_t n) {
    const Experts& e = model_.weights().layers[0].experts;
    const MatView<float> logits(&router[first * c_.moe.n_expert], n, c_.moe.n_expert);
    RoutingMemory memory;
    Routing routing;
    if (policy.empty()) {
      route_as_trained(c_.moe.gate(), logits, memory, routing);
    } else {
      expert_policy_from(policy)->route(c_.moe.gate(), logits, memory, routing);
    }
    n_dropped_ += routing.n_dropped;
    Floats y(n * c_.n_embd);
    const auto add = [&](size_t t, float weight, const Floats& out) {
      for (size_t k = 0; k < out.size(); ++k) y[t * c_.n_embd + k] += weight * out[k];
    };
    for (const Route& r : routing.routes)
      add(r.token, r.weight, mlp(e.experts[r.expert], inputs.at(uint32_t(first) + r.token)));
    for (size_t t = 0; t < n && e.shared.n_ff; ++t) {
      const Floats& x = inputs.at(uint32_t(first + t));
      Floats gate(1, 1.0f);
      const Arena::Scope scope(compute_.arena);
      if (e.shared_gate)
        e.shared_gate->dot(compute_, std::vector<TokenTraits>(1), {x.data(), 1, x.size()}, {}, {gate.data(), 1, 1});
      add(t, e.shared_gate ? sigmoid(gate[0]) : 1.0f, mlp(e.shared, x));
    }
    return y;
  }

  Compute compute_{2};
  Model model_{open_model(golden_fixture(GetParam())).file, {}, compute_};
  const ModelConfig& c_ = model_.config();
  KvCache cache_{Transformer::kv_shape(c_, DType::kF32, 16), 4096};
  Watch watch_;
  size_t n_dropped_ = 0;
};

TEST_P(ExpertsTest, RunsWithPoliciesOfTheirOwnShareAStep) {
  const std::vector<size_t> lengths(kAll.size(), 9);
  run(Policies(kAll.size(), ""), lengths);
  const std::map<uint32_t, Floats> inputs = watch_.inputs;
  for (const Phase phase : {Phase::kDecode, Phase::kPrompt}) {
    run(kAll, lengths, phase);
    Floats expected;
    for (size_t i = 0; i < kAll.size(); ++i) {
      const Floats y = mixture(kAll[i], inputs, watch_.router, i * 9, 9);
      expected.insert(expected.end(), y.begin(), y.end());
    }
    EXPECT_LE(worst_difference(watch_.output, expected), 1e-4f);
    EXPECT_GT(n_dropped_, 0u) << "no token was ever dropped: the test shows less than it says";
  }
}

TEST_P(ExpertsTest, PoliciesDiffer) {
  const Floats as_trained = run({""}, {24});
  for (const std::string& policy : kAll)
    if (!policy.empty()) {
      EXPECT_GT(worst_difference(run({policy}, {24}), as_trained), 1e-3f) << policy;
    }
  EXPECT_EQ(worst_difference(run({"capacity:1000"}, {24}), as_trained), 0.0f);
}

// In decoding nobody is refused, and there is nothing to balance.
TEST_P(ExpertsTest, ATokenByItselfGoesWhereItsGateSays) {
  const Floats as_trained = run({""}, {1});
  for (const char* policy : {"capacity:0.5", "prioritised:0.5", "choice:1", "balanced", "sinkhorn"})
    EXPECT_EQ(worst_difference(run({policy}, {1}), as_trained), 0.0f) << policy;
  const Floats together = run({""}, {7}, Phase::kVerify, true);
  for (const char* policy : {"capacity:0.5", "choice:1", "balanced"})
    EXPECT_EQ(worst_difference(run({policy}, {7}, Phase::kVerify, true), together), 0.0f) << policy << " as alone";
}

TEST_P(ExpertsTest, WhatTheModelDoesNotHaveIsRefused) {
  Plan plan;
  EXPECT_THROW(plan.set_experts(c_, expert_policy_from("top:99")), Error);
  Compute compute(1);
  const Model dense(open_model(golden_fixture("tiny_llama")).file, {}, compute);
  EXPECT_THROW(plan.set_experts(dense.config(), expert_policy_from("top:1")), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, ExpertsTest, ::testing::Values("tiny_mixtral", "tiny_qwen2moe"),
                         [](const auto& i) { return std::string(i.param); });

}  // namespace
}  // namespace hunch
