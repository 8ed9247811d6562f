// Decode batches: every way to read their rows gives each sequence what it gets alone, and counts what was read.
#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "model/open_model.h"
#include "model/test_settings.h"
#include "model/test_steps.h"
#include "select/selectors.h"

namespace hunch {
namespace {

RowCosts only(RowPath path) {
  RowCosts costs{1, 1, 1, 1, 1, 1};
  if (path == RowPath::kOwn) costs.own_call = costs.own_row = costs.own_first = 0;
  if (path == RowPath::kUnion) costs.union_call = costs.union_row = 0;
  if (path == RowPath::kAll) costs.all = 0;
  return costs;
}

// Scores that depend on the token's input and on nothing else.
class OfInput : public Predictor {
 public:
  OfInput(size_t n_in, size_t n_out, uint32_t salt) : n_in_(n_in), n_out_(n_out), salt_(salt) {}
  void score(Compute& compute, MatView<const float> X, MatView<float> scores) const override {
    compute.meter.read_weights(bytes());
    for (size_t t = 0; t < X.rows; ++t) {
      // Coarse, so that rounding does not change it.
      const long hash =
          std::lround(X.row(t)[salt_ % n_in_] * 2) * 7 + std::lround(X.row(t)[(salt_ + 5) % n_in_] * 2) * 13 + salt_;
      for (size_t k = 0; k < n_out_; ++k) scores.row(t)[k] = float((unsigned(hash) + k * 5) % 7);
    }
  }
  std::string_view kind() const override { return "of input"; }
  size_t n_in() const override { return n_in_; }
  size_t n_out() const override { return n_out_; }
  size_t bytes() const override { return 64; }

 private:
  size_t n_in_, n_out_;
  uint32_t salt_;
};

class BatchTest : public ::testing::TestWithParam<const char*> {
 protected:
  static constexpr size_t kSteps = 3;

  Compute compute_{2};
  Model model_{open_model(golden_fixture(GetParam())).file, {}, compute_};
  const ModelConfig& c_ = model_.config();
  const Plan exact_ = Plan::exact(c_);
  std::deque<OfInput> predictors_;

  // Sequence s: a prompt of 5 + s tokens, then kSteps tokens.
  std::vector<int32_t> ids_of(size_t s) const {
    std::mt19937 rng{uint32_t(s)};
    std::vector<int32_t> ids(5 + s + kSteps);
    for (int32_t& id : ids) id = int32_t(rng() % c_.n_vocab);
    return ids;
  }

  struct Result {
    std::vector<std::vector<float>> logits;  // [n_sequences] of the steps
    StepStats stats;
  };

  // The steps of n sequences: each by itself, or all in one pass per step.
  Result decode(const Plan* plan, size_t n_sequences, bool together, Observer* observer = nullptr) {
    KvCache cache(Transformer::kv_shape(c_, DType::kF32, 8), 512);
    Transformer transformer(model_, cache, compute_);
    std::vector<hunch::Run> runs;
    std::deque<SelectorStates> states;  // as requests have them; selectors that remember nothing do not mind
    for (size_t s = 0; s < n_sequences; ++s) {
      const std::vector<int32_t> ids = ids_of(s);
      const hunch::Run prompt{cache.create(), ids.size() - kSteps, Phase::kPrompt, plan};
      transformer.run({std::span(ids).first(prompt.n_tokens), {&prompt, 1}, {}});
      runs.push_back({prompt.sequence, 1, Phase::kDecode, plan});
      runs.back().states = &states.emplace_back();
    }
    Result out;
    out.logits.resize(n_sequences);
    transformer.stats = {};
    transformer.observer = observer;
    for (size_t step = 0; step < kSteps; ++step)
      for (size_t first = 0; first < n_sequences; first += together ? n_sequences : 1) {
        const size_t n = together ? n_sequences : 1;
        std::vector<int32_t> next;
        for (size_t s = first; s < first + n; ++s) {
          const std::vector<int32_t> ids = ids_of(s);
          next.push_back(ids[ids.size() - kSteps + step]);
        }
        const std::vector<uint32_t> rows = rows_up_to(n);
        const MatView<const float> logits = transformer.run({next, std::span(runs).subspan(first, n), rows});
        for (size_t i = 0; i < n; ++i) append_rows(logits.row_range(i, 1), out.logits[first + i]);
      }
    out.stats = transformer.stats;
    return out;
  }

  // Together, with every product's rows read in this way where there is a choice.
  Result decode_by(RowPath path, const Plan* plan, size_t n_sequences) {
    model_.layouts().costs().fix(only(path));
    Result result = decode(plan, n_sequences, true);
    model_.layouts().costs() = {};
    return result;
  }

  static void expect_near(const Result& got, const Result& want) {
    ASSERT_EQ(got.logits.size(), want.logits.size());
    for (size_t s = 0; s < got.logits.size(); ++s)
      EXPECT_LE(worst_difference(got.logits[s], want.logits[s]), 3e-5f) << "sequence " << s;
  }

  // Neurons and groups of heads by predictors; those of experts are not predicted.
  Plan plan(float threshold, float head_threshold) {
    Plan p = exact_;
    for (size_t l = 0; l < c_.n_layer; ++l) {
      if (!c_.layers[l].has_experts()) {
        predictors_.emplace_back(c_.n_embd, c_.n_ff, uint32_t(l));
        p.set(
            l, Point::kNeurons,
            {std::make_shared<const Predicted>(predictors_.back(), threshold), l % 2 ? Look::kAttention : Look::kHere});
      }
      predictors_.emplace_back(c_.n_embd, c_.n_kv_head, uint32_t(l + 3));
      p.set(l, Point::kHeads, {std::make_shared<const Predicted>(predictors_.back(), head_threshold)});
    }
    return p;
  }
};

TEST_P(BatchTest, ExactEqualsEachSequenceAloneOnEveryPath) {
  for (const size_t n : {2, 6, 9}) {
    const Result want = decode(&exact_, n, false);
    for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll}) {
      SCOPED_TRACE(std::string(name_of(path)) + ", sequences " + std::to_string(n));
      const Result got = decode_by(path, &exact_, n);
      expect_near(got, want);
      for (size_t i = 0; i < kNumRowPaths; ++i) EXPECT_TRUE(RowPath(i) == path || got.stats.rows.products[i] == 0);
      EXPECT_EQ(got.stats.active_neurons, want.stats.active_neurons);
    }
    expect_near(decode(&exact_, n, true), want);
  }
}

TEST_P(BatchTest, PredictedEqualsEachSequenceAloneOnEveryPath) {
  Plan some = plan(2.5f, 1.5f);
  for (const bool lazy_keys : {false, true})
    for (const size_t n : {2, 6, 9}) {
      some.lazy_keys = lazy_keys;
      const Result want = decode(&some, n, false);
      for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll}) {
        SCOPED_TRACE(std::string(name_of(path)) + ", sequences " + std::to_string(n));
        const Result got = decode_by(path, &some, n);
        expect_near(got, want);
        EXPECT_EQ(got.stats.active_neurons, want.stats.active_neurons);
        EXPECT_EQ(got.stats.active_heads, want.stats.active_heads);
        EXPECT_EQ(got.stats.predictor_bytes * n, want.stats.predictor_bytes) << "a predictor is asked once for all";
        EXPECT_TRUE(c_.layers[0].has_experts() || got.stats.rows.products[size_t(path)] > 0);
      }
    }
  // The restriction is felt at all.
  EXPECT_GT(worst_difference(decode(nullptr, 6, true).logits[0], decode(&some, 6, true).logits[0]), 1e-3f);
}

TEST_P(BatchTest, CatsAndTealEqualEachSequenceAlone) {
  store_all_by_input(model_, compute_);
  for (const char* method : {"cats", "teal"}) {
    Plan p = exact_;
    for (size_t l = 0; l < c_.n_layer; ++l)
      Setting{.kind = method, .threshold = 0.02f, .inputs = {0.4f, 0.03f, 0.5f, 0.02f}}.set(p, l);
    for (const size_t n : {3, 6}) {
      const Result want = decode(&p, n, false);
      for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll}) {
        SCOPED_TRACE(std::string(name_of(path)) + ", sequences " + std::to_string(n));
        const Result got = decode_by(path, &p, n);
        expect_near(got, want);
        EXPECT_EQ(got.stats.active_neurons, want.stats.active_neurons);
      }
    }
  }
}

// Bytes and the union against the activations of a dense pass over the same tokens.
TEST_P(BatchTest, CountsTheRowsThatWereRead) {
  if (c_.layers[0].has_experts() || !is_relu_family(c_.activation)) GTEST_SKIP() << "no exact zeros by layer";
  struct Watch : Observer {
    uint64_t n_union = 0, n_own = 0, n_all = 0;
    void on_mlp(const MlpPlace&, MatView<const float>, MatView<const float> act) override {
      for (size_t i = 0; i < act.cols; ++i) {
        uint64_t n = 0;
        for (size_t t = 0; t < act.rows; ++t) n += act.row(t)[i] != 0;
        n_own += n;
        n_union += n > 0;
      }
      n_all += act.cols;
    }
  } watch;
  const Result dense = decode(nullptr, 6, true, &watch);
  EXPECT_EQ(dense.stats.rows.union_of, 0u);
  EXPECT_LT(watch.n_union, watch.n_own);
  EXPECT_LT(watch.n_union, watch.n_all);
  const WeightView down = model_.weights().layers[0].mlp.down->by_input();
  const uint64_t bytes = row_bytes(down.dtype, down.cols);
  const auto saved = [&](RowPath path) {
    const Result exact = decode_by(path, &exact_, 6);
    EXPECT_EQ(exact.stats.rows.union_rows, watch.n_union);
    EXPECT_EQ(exact.stats.rows.union_of, watch.n_all);
    EXPECT_EQ(exact.stats.rows.products[size_t(path)], kSteps * c_.n_layer);
    return int64_t(dense.stats.weight_bytes) - int64_t(exact.stats.weight_bytes);
  };
  EXPECT_EQ(saved(RowPath::kAll), 0);
  EXPECT_EQ(saved(RowPath::kUnion), int64_t((watch.n_all - watch.n_union) * bytes));
  EXPECT_EQ(saved(RowPath::kOwn), (int64_t(watch.n_all) - int64_t(watch.n_own)) * int64_t(bytes));
}

// Prompts are dense, whatever they share a step with; runs of several tokens are not for their length.
TEST_P(BatchTest, OnlyPromptsAreDense) {
  const Plan none = plan(100, 100);
  KvCache cache(Transformer::kv_shape(c_, DType::kF32, 8), 512);
  const std::vector<int32_t> ids = ids_of(9);
  const size_t n_vocab = c_.n_vocab;
  const auto run = [&](const Plan* plan, const std::vector<std::pair<size_t, Phase>>& parts,
                       StepStats* stats = nullptr) {
    Transformer transformer(model_, cache, compute_);
    std::vector<hunch::Run> runs;
    for (const auto& [n, phase] : parts) runs.push_back({cache.create(), n, phase, plan});
    const std::vector<uint32_t> rows = rows_up_to(8);
    std::vector<float> logits;
    append_rows(transformer.run({std::span(ids).first(8), runs, rows}), logits);
    if (stats) *stats = transformer.stats;
    for (const hunch::Run& r : runs) cache.release(r.sequence);
    return logits;
  };
  constexpr Phase kPrompt = Phase::kPrompt, kDecode = Phase::kDecode;
  StepStats stats;
  const std::vector<float> dense = run(nullptr, {{5, kPrompt}, {1, kPrompt}, {2, kPrompt}});
  EXPECT_EQ(run(&none, {{5, kPrompt}, {1, kPrompt}, {2, kPrompt}}, &stats), dense);
  EXPECT_EQ(stats.rows.union_of, 0u);
  EXPECT_EQ(stats.predictor_bytes, 0u);
  const std::vector<float> mixed = run(&none, {{5, kPrompt}, {1, kDecode}, {2, kPrompt}}, &stats);
  EXPECT_GT(stats.predictor_bytes, 0u);
  const auto difference = [&](size_t first, size_t n) {
    return worst_difference(std::span(mixed).subspan(first * n_vocab, n * n_vocab),
                            std::span(dense).subspan(first * n_vocab, n * n_vocab));
  };
  EXPECT_LE(difference(0, 5), 3e-5f);
  EXPECT_GT(difference(5, 1), 1e-3f);
  EXPECT_LE(difference(6, 2), 3e-5f);
  EXPECT_NE(run(&none, {{4, kDecode}, {4, kDecode}}, &stats), run(nullptr, {{4, kDecode}, {4, kDecode}}));
  EXPECT_TRUE(c_.layers[0].has_experts() || stats.rows.union_of > 0);
  EXPECT_GT(stats.predictor_bytes, 0u);
}

TEST_P(BatchTest, CostsAreMeasuredOnceAndNeverInAStep) {
  const Plan some = plan(2.5f, -1);
  decode(&some, 6, true);
  CostTable& costs = model_.layouts().costs();
  EXPECT_TRUE(costs.measured().empty()) << "a step measures";
  model_.measure_costs(compute_, some, 6);
  const auto once = costs.measured();
  ASSERT_FALSE(once.empty()) << "heads, and neurons where there are no experts";
  for (const CostTable::Measured& m : once) {
    EXPECT_EQ(m.n_tokens, 6u);
    EXPECT_GT(m.costs.all, 0);
  }
  model_.measure_costs(compute_, some, 5);  // of the same class
  const auto again = costs.measured();
  ASSERT_EQ(again.size(), once.size());
  for (size_t i = 0; i < once.size(); ++i) EXPECT_EQ(again[i].costs.all, once[i].costs.all);
  model_.measure_costs(compute_, some, 2);
  EXPECT_EQ(costs.measured().size(), 2 * once.size());
  expect_near(decode(&some, 6, true), decode(&some, 6, false));  // whatever was measured
}

// Costs that were measured elsewhere decide as they did there.
TEST_P(BatchTest, PinnedCostsChoose) {
  if (c_.layers[0].has_experts()) GTEST_SKIP() << "how many tokens an expert gets is up to the router";
  const Plan some = plan(2.5f, -1);
  model_.measure_costs(compute_, some, 6);
  for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll}) {
    for (CostTable::Measured m : model_.layouts().costs().measured()) {
      m.costs = only(path);
      model_.layouts().costs().pin(m);
    }
    const RowReads rows = decode(&some, 6, true).stats.rows;
    for (size_t i = 0; i < kNumRowPaths; ++i) EXPECT_EQ(rows.products[i] > 0, RowPath(i) == path) << name_of(path);
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, BatchTest,
                         ::testing::Values("opt_sparse", "llama_mha", "qwen2_moe", "opt_350m_style", "gemma2",
                                           "bloom_h6"),
                         [](const auto& i) { return std::string(i.param); });

TEST(BatchSizeClass, GrowsByHalvesAndThirds) {
  const std::vector<size_t> want{1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16};
  for (size_t n = 1; n <= want.size(); ++n) EXPECT_EQ(batch_size_class(n), want[n - 1]) << n;
  EXPECT_EQ(batch_size_class(33), 48u);
  EXPECT_EQ(batch_size_class(64), 64u);
}

}  // namespace
}  // namespace hunch
