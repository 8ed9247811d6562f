// What tokens used of each layer: counted by hand, and in steps that they share with others.
#include "model/run_trace.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "model/open_model.h"
#include "model/test_settings.h"
#include "model/test_steps.h"
#include "select/expert_policies.h"
#include "select/key_policies.h"
#include "select/selectors.h"

namespace hunch {
namespace {

using Uses = std::vector<LayerUse>;

void expect_share(const Share& got, uint64_t used, uint64_t of, const char* what) {
  EXPECT_EQ(got.used, used) << what;
  EXPECT_EQ(got.of, of) << what;
}

// Activations that are not zero, by layer and place in the step.
struct CountsNonzero final : Observer {
  void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> act) override {
    for (size_t t = 0; t < act.rows; ++t)
      for (const float value : act.row(t)) live[{place.layer, t}] += value != 0;
  }
  std::map<std::pair<size_t, size_t>, uint64_t> live;
};

// The last group of heads and no other.
class LastGroup final : public Predictor {
 public:
  LastGroup(size_t n_in, size_t n_groups) : n_in_(n_in), n_groups_(n_groups) {}
  void score(Compute&, MatView<const float> X, MatView<float> scores) const override {
    fill_rows(0.0f, scores);
    for (size_t t = 0; t < X.rows; ++t) scores.row(t)[n_groups_ - 1] = 1;
  }
  std::string_view kind() const override { return "last group"; }
  size_t n_in() const override { return n_in_; }
  size_t n_out() const override { return n_groups_; }
  size_t bytes() const override { return 0; }

 private:
  size_t n_in_, n_groups_;
};

class TraceTest : public ::testing::Test {
 protected:
  void open(const char* fixture) {
    model_ = std::make_unique<Model>(open_model(golden_fixture(fixture)).file, WeightOptions{}, compute_);
    cache_ = std::make_unique<KvCache>(Transformer::kv_shape(config(), DType::kF32, 8), 1024);
    transformer_ = std::make_unique<Transformer>(*model_, *cache_, compute_);
  }
  const ModelConfig& config() const { return model_->config(); }
  struct Asked {
    const Plan* plan = nullptr;
    Phase phase = Phase::kDecode;
    size_t n = 1, salt = 0;
    bool as_alone = false;
  };
  // A text of its own for each: first a prompt of 9 tokens, then all of them in one step. The traces of that.
  std::vector<RunTrace> trace(const std::vector<Asked>& all, size_t n_last = SIZE_MAX, Observer* observer = nullptr) {
    std::vector<KvCache::SequenceId> sequences;
    std::vector<SelectorStates> states(all.size());
    std::vector<RunTrace> traces(all.size(), RunTrace(n_last));
    std::vector<int32_t> ids;
    std::vector<hunch::Run> runs;
    for (size_t i = 0; i < all.size(); ++i) {
      const auto id = [&](size_t k) { return int32_t((k * 37 + all[i].salt * 101 + 11) % config().n_vocab); };
      sequences.push_back(cache_->create());
      std::vector<int32_t> prompt;
      for (size_t k = 0; k < 9; ++k) prompt.push_back(id(k));
      hunch::Run run{sequences[i], prompt.size(), Phase::kPrompt, all[i].plan};
      run.states = &states[i];
      transformer_->run({prompt, {&run, 1}, {}});
      for (size_t k = 0; k < all[i].n; ++k) ids.push_back(id(9 + k));
      run.n_tokens = all[i].n;
      run.phase = all[i].phase;
      run.as_alone = all[i].as_alone;
      run.trace = &traces[i];
      runs.push_back(run);
    }
    transformer_->observer = observer;
    transformer_->run({ids, runs, {}});
    transformer_->observer = nullptr;
    for (const KvCache::SequenceId sequence : sequences) cache_->release(sequence);
    return traces;
  }
  Uses alone(Asked asked) { return uses(trace({asked})[0], asked.n); }
  Uses uses(const RunTrace& trace, size_t n_tokens) const {
    Uses out;
    for (size_t i = 0; i < n_tokens; ++i) out.insert(out.end(), trace.of(i).begin(), trace.of(i).end());
    return out;
  }

  Compute compute_{1};
  std::unique_ptr<Model> model_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Transformer> transformer_;
};

TEST_F(TraceTest, DenseUsesEverythingAndExactWhatIsNotZero) {
  for (const char* fixture : {"opt_sparse", "tiny_fatrelu", "tiny_nemotron", "tiny_drelu", "tiny_bitnet"}) {
    SCOPED_TRACE(fixture);
    open(fixture);
    const Plan exact = Plan::exact(config());
    CountsNonzero counts;
    const std::vector<RunTrace> traces = trace({{nullptr}, {&exact}}, SIZE_MAX, &counts);
    for (size_t l = 0; l < config().n_layer; ++l) {
      const LayerConfig& c = config().layers[l];
      const LayerUse &dense = traces[0].of(0)[l], &sparse = traces[1].of(0)[l];
      expect_share(dense.neurons, c.n_ff, c.n_ff, "neurons");
      expect_share(sparse.neurons, counts.live[{l, 1}], c.n_ff, "neurons of exact");
      EXPECT_LT(sparse.neurons.used, c.n_ff);
      EXPECT_GT(sparse.neurons.used, 0u);
      for (const LayerUse& use : {dense, sparse}) {
        expect_share(use.heads, c.n_head, c.n_head, "heads");
        expect_share(use.keys, c.n_kv_head * 10, c.n_kv_head * 10, "keys");
        EXPECT_EQ(use.experts.of, 0u);
      }
    }
  }
}

TEST_F(TraceTest, APromptUsesEverything) {
  open("opt_sparse");
  const Plan exact = Plan::exact(config());
  const RunTrace last = trace({{&exact, Phase::kPrompt, 5}}, 1)[0];
  for (const LayerUse& use : last.of(0)) {
    EXPECT_EQ(use.neurons.used, use.neurons.of);
    EXPECT_EQ(use.keys.used, use.keys.of);
    EXPECT_EQ(use.keys.of, 14 * config().layers[0].n_kv_head) << "the last of 9 + 5 tokens";
  }
}

// Each run has its own share, and not the union's, whoever is beside it.
TEST_F(TraceTest, AStepWithOthersChangesNothing) {
  for (const char* fixture : {"tiny_fatrelu", "tiny_drelu"}) {
    open(fixture);
    const Plan exact = Plan::exact(config());
    Plan inputs = exact, predicted = exact;
    for (size_t l = 0; l < config().n_layer; ++l) {
      Setting{"teal", 0, 1, {0.3f, 0.3f, 0.3f, 0.3f}}.set(inputs, l);
      Setting{"cats", 0.02f}.set(predicted, l);
    }
    store_all_by_input(*model_, compute_);
    store_down_by_input(*model_, compute_);
    for (const bool as_alone : {false, true}) {
      const std::vector<Asked> all = {
          {&exact, Phase::kDecode, 1, 1, as_alone},     {nullptr, Phase::kDecode, 1, 2, as_alone},
          {&exact, Phase::kVerify, 3, 3, as_alone},     {&inputs, Phase::kDecode, 1, 4, as_alone},
          {&predicted, Phase::kDecode, 1, 5, as_alone}, {nullptr, Phase::kPrompt, 4, 6, as_alone}};
      const std::vector<RunTrace> traces = trace(all);
      for (size_t i = 0; i < all.size(); ++i) {
        SCOPED_TRACE(fmt::format("{}, run {}, as alone {}", fixture, i, as_alone));
        const Uses got = uses(traces[i], all[i].n), want = alone(all[i]);
        ASSERT_EQ(got.size(), want.size());
        for (size_t k = 0; k < got.size(); ++k) {
          const auto density = [](const Share& s) { return double(s.used) / double(s.of); };
          EXPECT_NEAR(density(got[k].neurons), density(want[k].neurons), 1e-9) << "layer " << k % config().n_layer;
          EXPECT_EQ(got[k].heads.used, want[k].heads.used);
          EXPECT_EQ(got[k].keys.used, want[k].keys.used);
          EXPECT_EQ(got[k].keys.of, want[k].keys.of);
        }
      }
      std::set<uint64_t> different;
      for (const RunTrace* exact_run : {&traces[0], &traces[2]})
        for (const LayerUse& use : exact_run->of(0)) different.insert(use.neurons.used);
      EXPECT_GT(different.size(), config().n_layer) << "the texts are too alike to tell";
      EXPECT_LT(traces[3].of(0)[0].neurons.used, traces[3].of(0)[0].neurons.of);
      EXPECT_LT(traces[4].of(0)[0].neurons.used, traces[4].of(0)[0].neurons.of);
    }
  }
}

TEST_F(TraceTest, HeadsAndTheirKeysAreThoseThatWereChosen) {
  open("tiny_llama");
  const LayerConfig& c = config().layers[0];
  ASSERT_GT(c.n_kv_head, 1u);
  const LastGroup predictor(c.n_embd, c.n_kv_head);
  Plan last = Plan::exact(config());
  for (size_t l = 0; l < config().n_layer; ++l)
    last.set(l, Point::kHeads, {std::make_shared<const Predicted>(predictor, 0.5f)});
  for (const bool by_group : {false, true}) {  // whole outputs that become zeros; products of these heads alone
    if (by_group) store_heads_by_group(*model_, compute_);
    const std::vector<RunTrace> beside = trace({{&last, Phase::kDecode, 1, 1}, {nullptr, Phase::kDecode, 1, 2}});
    const Uses alone_uses = alone({&last, Phase::kDecode, 1, 1, true});
    for (size_t l = 0; l < config().n_layer; ++l) {
      expect_share(beside[0].of(0)[l].heads, c.n_head / c.n_kv_head, c.n_head, "heads");
      expect_share(beside[1].of(0)[l].heads, c.n_head, c.n_head, "heads of dense");
      expect_share(alone_uses[l].heads, c.n_head / c.n_kv_head, c.n_head, "heads, alone");
      expect_share(alone_uses[l].keys, 10, 10, "keys of one head");
    }
  }
}

TEST_F(TraceTest, OnlyTheLastTokensAreTraced) {
  open("opt_sparse");
  const Plan exact = Plan::exact(config());
  const Asked asked{&exact, Phase::kVerify, 4, 0, true};
  const RunTrace all = trace({asked})[0], two = trace({asked}, 2)[0];
  for (size_t i = 0; i < 2; ++i)
    for (size_t l = 0; l < config().n_layer; ++l)
      EXPECT_EQ(two.of(i)[l].neurons.used, all.of(i + 2)[l].neurons.used) << i;
}

TEST_F(TraceTest, ExpertsAreThoseThatATokenWentTo) {
  open("tiny_mixtral");
  const LayerConfig& c = config().layers[0];
  Plan one;
  one = Plan::exact(config());
  one.set_experts(config(), expert_policy_from("top:1"));
  const std::vector<RunTrace> traces = trace({{nullptr, Phase::kDecode, 1, 1}, {&one, Phase::kDecode, 1, 2}});
  for (size_t l = 0; l < config().n_layer; ++l) {
    const LayerUse &two = traces[0].of(0)[l], &first = traces[1].of(0)[l];
    expect_share(two.experts, c.moe.n_expert_used, c.moe.n_expert, "experts");
    expect_share(two.neurons, c.moe.n_expert_used * c.moe.n_ff, c.moe.n_expert * c.moe.n_ff, "neurons");
    expect_share(first.experts, 1, c.moe.n_expert, "experts");
    EXPECT_LE(first.neurons.used, c.moe.n_ff);
  }
}

TEST_F(TraceTest, WindowsAndPoliciesLeaveKeysOut) {
  open("tiny_llama");
  Plan streaming = Plan::exact(config());
  streaming.set_keys(config(), key_policy_from("streaming:6,sinks=2"));
  const Uses some = alone({&streaming});
  const size_t n_heads = config().layers[0].n_kv_head;
  // 6 of the prompt's 9 tokens are left, and the token itself.
  for (const LayerUse& use : some) expect_share(use.keys, 7 * n_heads, 10 * n_heads, "keys");

  open("tiny_gemma2");
  const Uses windows = alone({nullptr, Phase::kDecode, 30});
  const size_t position = 9 + 29;
  for (size_t l = 0; l < config().n_layer; ++l) {
    const LayerConfig& c = config().layers[l];
    const size_t n = c.window ? std::min(c.window, position + 1) : position + 1;
    expect_share(windows[29 * config().n_layer + l].keys, n * c.n_kv_head, (position + 1) * c.n_kv_head, "keys");
  }
}

}  // namespace
}  // namespace hunch
