// Decode batches: every way to read their rows gives each sequence what it gets alone, and counts what was read.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <random>

#include "base/test_paths.h"
#include "model/forward.h"
#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

RowCosts only(RowPath path) {
  RowCosts costs{1, 1, 1, 1, 1, 1};
  if (path == RowPath::kOwn) costs.own_call = costs.own_row = costs.own_first = 0;
  if (path == RowPath::kUnion) costs.union_call = costs.union_row = 0;
  if (path == RowPath::kAll) costs.all = 0;
  return costs;
}

// Scores that depend on the token's input and on nothing else.
class OfInput : public NeuronPredictor {
 public:
  OfInput(size_t n_in, size_t n_out, uint32_t salt) : n_in_(n_in), n_out_(n_out), salt_(salt) {}
  void score(Compute&, MatView<const float> X, MatView<float> scores) const override {
    for (size_t t = 0; t < X.rows; ++t) {
      // Coarse, so that rounding does not change it.
      const long hash =
          std::lround(X.row(t)[salt_ % n_in_] * 2) * 7 + std::lround(X.row(t)[(salt_ + 5) % n_in_] * 2) * 13 + salt_;
      for (size_t k = 0; k < n_out_; ++k) scores.row(t)[k] = float((unsigned(hash) + k * 5) % 7);
    }
  }
  std::string_view kind() const override { return "of input"; }
  size_t n_in() const override { return n_in_; }
  size_t n_ff() const override { return n_out_; }
  size_t bytes() const override { return 64; }

 private:
  size_t n_in_, n_out_;
  uint32_t salt_;
};

class ForwardBatchTest : public ::testing::TestWithParam<const char*> {
 protected:
  static constexpr size_t kSteps = 3;

  fs::path folder_ = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / GetParam();
  Compute compute_{2};
  Model model_{open_model(folder_).file, {}, compute_};
  const ModelConfig& c_ = model_.config();
  std::deque<OfInput> predictors_;
  ColumnWeights columns_;

  // Sequence s: a prompt of 5 + s tokens, then kSteps tokens.
  std::vector<int32_t> ids_of(size_t s) const {
    std::mt19937 rng{uint32_t(s)};
    std::vector<int32_t> ids(5 + s + kSteps);
    for (int32_t& id : ids) id = int32_t(rng() % c_.n_vocab);
    return ids;
  }

  struct Result {
    std::vector<std::vector<float>> logits;  // [n_sequences] of the steps
    ForwardStats stats;
  };

  // The steps of n sequences: each by itself, or all in one pass per step.
  Result decode(Mode mode, const SparsePlan* plan, size_t n_sequences, bool together, const BatchCosts* costs = nullptr,
                ForwardObserver* observer = nullptr) {
    KvCache cache(Forward::kv_shape(c_, DType::kF32, 8), 512);
    Forward forward(model_, cache, compute_);
    forward.mode = mode;
    forward.plan = plan;
    forward.batch_costs = costs;
    forward.columns = columns_.layers.empty() ? nullptr : &columns_;
    std::vector<SequenceRun> runs;
    for (size_t s = 0; s < n_sequences; ++s) {
      const std::vector<int32_t> ids = ids_of(s);
      const SequenceRun prompt{cache.create(), ids.size() - kSteps};
      forward.run({std::span(ids).first(prompt.n_tokens), {&prompt, 1}, {}, {}});
      runs.push_back({prompt.sequence, 1});
    }
    Result out;
    out.logits.resize(n_sequences);
    forward.stats = {};
    forward.observer = observer;
    for (size_t step = 0; step < kSteps; ++step)
      for (size_t first = 0; first < n_sequences; first += together ? n_sequences : 1) {
        const size_t n = together ? n_sequences : 1;
        std::vector<int32_t> next;
        std::vector<uint32_t> rows;
        for (size_t s = first; s < first + n; ++s) {
          const std::vector<int32_t> ids = ids_of(s);
          next.push_back(ids[ids.size() - kSteps + step]);
          rows.push_back(uint32_t(s - first));
        }
        const MatView<const float> logits = forward.run({next, std::span(runs).subspan(first, n), rows, {}});
        for (size_t i = 0; i < n; ++i)
          out.logits[first + i].insert(out.logits[first + i].end(), logits.row(i).begin(), logits.row(i).end());
      }
    out.stats = forward.stats;
    return out;
  }

  static void expect_near(const Result& got, const Result& want) {
    ASSERT_EQ(got.logits.size(), want.logits.size());
    for (size_t s = 0; s < got.logits.size(); ++s) {
      ASSERT_EQ(got.logits[s].size(), want.logits[s].size());
      float worst = 0;
      for (size_t i = 0; i < got.logits[s].size(); ++i)
        worst = std::max(worst,
                         std::isfinite(got.logits[s][i]) ? std::abs(got.logits[s][i] - want.logits[s][i]) : INFINITY);
      EXPECT_LE(worst, 3e-5f) << "sequence " << s;
    }
  }

  // Neurons and groups of heads by predictors; those of experts are not predicted.
  SparsePlan plan(float threshold, float head_threshold) {
    SparsePlan p;
    p.layers.resize(c_.n_layer);
    for (size_t l = 0; l < c_.n_layer; ++l) {
      if (!c_.has_experts(l)) {
        predictors_.emplace_back(c_.n_embd, c_.n_ff, uint32_t(l));
        p.layers[l].neurons = &predictors_.back();
        p.layers[l].input = l % 2 ? PredictorInput::kAttention : PredictorInput::kMlp;
        p.layers[l].threshold = threshold;
      }
      predictors_.emplace_back(c_.n_embd, c_.n_kv_head, uint32_t(l + 3));
      p.layers[l].heads.groups = &predictors_.back();
      p.layers[l].heads.threshold = head_threshold;
    }
    return p;
  }
};

TEST_P(ForwardBatchTest, ExactEqualsEachSequenceAloneOnEveryPath) {
  for (const size_t n : {2, 6, 9}) {
    const Result want = decode(Mode::kExact, nullptr, n, false);
    for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll}) {
      SCOPED_TRACE(std::string(name_of(path)) + ", sequences " + std::to_string(n));
      const BatchCosts costs(only(path));
      const Result got = decode(Mode::kExact, nullptr, n, true, &costs);
      expect_near(got, want);
      for (size_t i = 0; i < kNumRowPaths; ++i) EXPECT_TRUE(RowPath(i) == path || got.stats.batch_products[i] == 0);
      EXPECT_EQ(got.stats.active_neurons, want.stats.active_neurons);
    }
    expect_near(decode(Mode::kExact, nullptr, n, true), want);
  }
}

TEST_P(ForwardBatchTest, SparseEqualsEachSequenceAloneOnEveryPath) {
  SparsePlan some = plan(2.5f, 1.5f);
  for (const bool lazy_keys : {false, true})
    for (const size_t n : {2, 6, 9}) {
      some.lazy_keys = lazy_keys;
      const Result want = decode(Mode::kSparse, &some, n, false);
      for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll}) {
        SCOPED_TRACE(std::string(name_of(path)) + ", sequences " + std::to_string(n));
        const BatchCosts costs(only(path));
        const Result got = decode(Mode::kSparse, &some, n, true, &costs);
        expect_near(got, want);
        EXPECT_EQ(got.stats.active_neurons, want.stats.active_neurons);
        EXPECT_EQ(got.stats.active_heads, want.stats.active_heads);
        EXPECT_TRUE(c_.has_experts(0) || got.stats.batch_products[size_t(path)] > 0);
      }
    }
  // The restriction is felt at all.
  const Result dense = decode(Mode::kDense, nullptr, 6, true), sparse = decode(Mode::kSparse, &some, 6, true);
  float difference = 0;
  for (size_t i = 0; i < dense.logits[0].size(); ++i)
    difference = std::max(difference, std::abs(dense.logits[0][i] - sparse.logits[0][i]));
  EXPECT_GT(difference, 1e-3f);
}

TEST_P(ForwardBatchTest, CatsAndTealEqualEachSequenceAlone) {
  if (c_.has_experts(0)) GTEST_SKIP() << "of dense MLPs only";
  columns_ = ColumnWeights::make(model_.weights(), ColumnParts::kAll, compute_);
  SparsePlan p;
  p.layers.resize(c_.n_layer);
  for (const SmoothMethod method : {SmoothMethod::kCats, SmoothMethod::kTeal}) {
    for (LayerPlan& layer : p.layers) {
      layer.smooth.method = method;
      layer.smooth.threshold = 0.02f;
      layer.smooth.inputs = {0.4f, 0.03f, 0.5f, 0.02f};
    }
    for (const size_t n : {3, 6}) {
      const Result want = decode(Mode::kSparse, &p, n, false);
      for (const RowPath path : {RowPath::kOwn, RowPath::kUnion, RowPath::kAll}) {
        SCOPED_TRACE(std::string(name_of(path)) + ", sequences " + std::to_string(n));
        const BatchCosts costs(only(path));
        const Result got = decode(Mode::kSparse, &p, n, true, &costs);
        expect_near(got, want);
        EXPECT_EQ(got.stats.active_neurons, want.stats.active_neurons);
      }
    }
  }
}

// Bytes and the union against the activations of a dense pass over the same tokens.
TEST_P(ForwardBatchTest, CountsTheRowsThatWereRead) {
  if (c_.has_experts(0) || !is_relu_family(c_.activation)) GTEST_SKIP() << "no exact zeros by layer";
  struct Watch : ForwardObserver {
    uint64_t n_union = 0, n_own = 0, n_all = 0;
    void on_mlp(size_t, MatView<const float>, MatView<const float> act) override {
      for (size_t i = 0; i < act.cols; ++i) {
        uint64_t n = 0;
        for (size_t t = 0; t < act.rows; ++t) n += act.row(t)[i] != 0;
        n_own += n;
        n_union += n > 0;
      }
      n_all += act.cols;
    }
  } watch;
  const Result dense = decode(Mode::kDense, nullptr, 6, true, nullptr, &watch);
  EXPECT_EQ(dense.stats.union_of, 0u);
  EXPECT_LT(watch.n_union, watch.n_own);
  EXPECT_LT(watch.n_union, watch.n_all);
  const WeightView& down = model_.weights().layers[0].mlp.W_down_t;
  const uint64_t bytes = row_bytes(down.dtype, down.cols);
  const auto saved = [&](RowPath path) {
    const BatchCosts costs(only(path));
    const Result exact = decode(Mode::kExact, nullptr, 6, true, &costs);
    EXPECT_EQ(exact.stats.union_rows, watch.n_union);
    EXPECT_EQ(exact.stats.union_of, watch.n_all);
    EXPECT_EQ(exact.stats.batch_products[size_t(path)], kSteps * c_.n_layer);
    return int64_t(dense.stats.weight_bytes) - int64_t(exact.stats.weight_bytes);
  };
  EXPECT_EQ(saved(RowPath::kAll), 0);
  EXPECT_EQ(saved(RowPath::kUnion), int64_t((watch.n_all - watch.n_union) * bytes));
  EXPECT_EQ(saved(RowPath::kOwn), (int64_t(watch.n_all) - int64_t(watch.n_own)) * int64_t(bytes));
}

// A pass with a prompt in it is dense for all its runs; several runs of few tokens are a batch.
TEST_P(ForwardBatchTest, LongRunsAreDense) {
  const SparsePlan none = plan(100, 100);
  KvCache cache(Forward::kv_shape(c_, DType::kF32, 8), 512);
  const std::vector<int32_t> ids = ids_of(9);
  std::vector<uint32_t> rows;
  for (uint32_t i = 0; i < 8; ++i) rows.push_back(i);
  const auto run = [&](Mode mode, const std::vector<size_t>& lengths, ForwardStats* stats = nullptr) {
    Forward forward(model_, cache, compute_);
    forward.mode = mode;
    forward.plan = &none;
    std::vector<SequenceRun> runs;
    for (const size_t n : lengths) runs.push_back({cache.create(), n});
    const MatView<const float> logits = forward.run({std::span(ids).first(8), runs, rows, {}});
    if (stats) *stats = forward.stats;
    for (const SequenceRun& r : runs) cache.release(r.sequence);
    return std::vector<float>(logits.data, logits.data + logits.rows * logits.cols);
  };
  ForwardStats stats;
  EXPECT_EQ(run(Mode::kSparse, {5, 1, 2}, &stats), run(Mode::kDense, {5, 1, 2}));
  EXPECT_EQ(stats.union_of, 0u);
  EXPECT_EQ(stats.predictor_bytes, 0u);
  EXPECT_NE(run(Mode::kSparse, {4, 4}, &stats), run(Mode::kDense, {4, 4}));
  EXPECT_TRUE(c_.has_experts(0) || stats.union_of > 0);
  EXPECT_GT(stats.predictor_bytes, 0u);
}

TEST_P(ForwardBatchTest, BreakEvensAreMeasuredOnceAndForBatchesOnly) {
  if (c_.has_experts(0)) GTEST_SKIP() << "how many tokens an expert gets is up to the router";
  const SparsePlan some = plan(2.5f, -1);
  decode(Mode::kSparse, &some, 6, false);
  EXPECT_TRUE(model_.batch_costs().measured().empty()) << "a sequence alone has nothing to choose";
  decode(Mode::kDense, nullptr, 6, true);
  EXPECT_TRUE(model_.batch_costs().measured().empty()) << "dense mode has nothing to choose";
  decode(Mode::kSparse, &some, 6, true);
  const auto once = model_.batch_costs().measured();
  ASSERT_FALSE(once.empty());
  for (const BatchCosts::Measured& m : once) {
    EXPECT_EQ(m.n_tokens, 6u);
    EXPECT_EQ(m.n_threads, 2u);
    EXPECT_GT(m.costs.all, 0);
  }
  decode(Mode::kSparse, &some, 5, true);
  const auto again = model_.batch_costs().measured();
  ASSERT_EQ(again.size(), once.size());
  for (size_t i = 0; i < once.size(); ++i) EXPECT_EQ(again[i].costs.all, once[i].costs.all);
  decode(Mode::kSparse, &some, 2, true);
  EXPECT_EQ(model_.batch_costs().measured().size(), 2 * once.size());
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ForwardBatchTest,
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
