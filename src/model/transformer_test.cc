#include "model/transformer.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "base/error.h"
#include "kernels/ops.h"
#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/test_steps.h"
#include "select/selectors.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

void expect_near(std::span<const float> got, std::span<const float> want, float tolerance) {
  ASSERT_EQ(got.size(), want.size());
  EXPECT_LE(worst_difference(got, want), tolerance);
}

// A plan that gives every token of a run the same rows.
class GivenPlan {
 public:
  GivenPlan() = default;
  GivenPlan(const GivenPlan&) = delete;
  void set(size_t layer, Point point, const Rows& rows, size_t n_tokens) {
    const std::vector<Rows>& own = own_.emplace_back(n_tokens, rows);
    plan.set(layer, point, {std::make_shared<const Given>(own)});
  }
  Plan plan;

 private:
  std::deque<std::vector<Rows>> own_;
};

class TransformerTest : public ::testing::TestWithParam<const char*> {
 protected:
  Compute compute_{2};
  Model model_{open_model(golden_fixture(GetParam())).file, {}, compute_};
  GoldenData golden_{golden_fixture(GetParam()) / "golden"};
  KvCache cache_{Transformer::kv_shape(model_.config(), DType::kF32, 8), 512};
  Transformer transformer_{model_, cache_, compute_};

  std::vector<float> run(const std::vector<int32_t>& ids, std::span<const hunch::Run> runs) {
    std::vector<float> logits;
    const std::vector<uint32_t> rows = rows_up_to(ids.size());
    append_rows(transformer_.run({ids, runs, rows}), logits);
    return logits;
  }
  std::vector<float> run_alone(const std::vector<int32_t>& ids) {
    const hunch::Run r{cache_.create(), ids.size()};
    return run(ids, {&r, 1});
  }
};

// Three sequences in one batch, two of them with a past, give what each gives alone.
TEST_P(TransformerTest, ABatchOfSequencesEqualsEachAlone) {
  const std::vector<int32_t> all = golden_.sequences[2].ids;
  const std::vector<int32_t> a(all.begin(), all.begin() + 20), b(all.begin() + 20, all.begin() + 37),
      c(all.begin() + 40, all.begin() + 45);
  const std::vector<float> want_a = run_alone(a), want_b = run_alone(b), want_c = run_alone(c);
  const size_t n_vocab = model_.config().n_vocab;

  const auto sa = cache_.create(), sb = cache_.create(), sc = cache_.create();
  std::vector<int32_t> first(a.begin(), a.begin() + 13);
  first.insert(first.end(), b.begin(), b.begin() + 1);
  const hunch::Run runs1[] = {{sa, 13}, {sb, 1}};
  run(first, runs1);
  std::vector<int32_t> second(b.begin() + 1, b.end());
  second.insert(second.end(), c.begin(), c.end());
  second.insert(second.end(), a.begin() + 13, a.end());
  const hunch::Run runs2[] = {{sb, b.size() - 1}, {sc, c.size()}, {sa, 7}};
  const std::vector<float> got = run(second, runs2);
  expect_near(std::span(got).first((b.size() - 1) * n_vocab), std::span(want_b).subspan(n_vocab), 2e-5f);
  expect_near(std::span(got).subspan((b.size() - 1) * n_vocab, c.size() * n_vocab), want_c, 2e-5f);
  expect_near(std::span(got).last(7 * n_vocab), std::span(want_a).subspan(13 * n_vocab), 2e-5f);
}

TEST_P(TransformerTest, TokenByTokenEqualsAllAtOnce) {
  const std::vector<int32_t> ids = golden_.sequences[1].ids;
  const std::vector<float> want = run_alone(ids);
  const auto sequence = cache_.create();
  const size_t n_vocab = model_.config().n_vocab;
  for (size_t i = 0; i < ids.size(); ++i) {
    const hunch::Run r{sequence, 1};
    expect_near(run({ids[i]}, {&r, 1}), std::span(want).subspan(i * n_vocab, n_vocab), 2e-5f);
  }
}

TEST_P(TransformerTest, SelectingEverythingChangesNothing) {
  const std::vector<int32_t> ids = golden_.sequences[1].ids;
  const std::vector<float> want = run_alone(ids);
  const ModelConfig& c = model_.config();
  GivenPlan all;
  for (size_t l = 0; l < c.n_layer; ++l) {
    all.set(l, Point::kHeads, Rows::all(c.n_head), ids.size());
    if (!c.layers[l].has_experts()) all.set(l, Point::kNeurons, Rows::all(c.n_ff), ids.size());
  }
  const hunch::Run r{cache_.create(), ids.size(), Phase::kDecode, &all.plan};
  expect_near(run(ids, {&r, 1}), want, 2e-5f);
}

TEST_P(TransformerTest, BadInputIsRefusedAndLosesNothing) {
  const auto sequence = cache_.create();
  const hunch::Run one{sequence, 1};
  EXPECT_THROW(run({-1}, {&one, 1}), Error);
  EXPECT_THROW(run({int32_t(model_.config().n_vocab)}, {&one, 1}), Error);
  const std::vector<int32_t> many(600, 1);  // more than the cache (and a learned table) holds
  const hunch::Run too_many{sequence, many.size()};
  EXPECT_THROW(run(many, {&too_many, 1}), Error);
  EXPECT_EQ(cache_.n_tokens(sequence), 0u);
  const std::vector<int32_t> ids = golden_.sequences[1].ids;
  const hunch::Run r{sequence, ids.size()};
  expect_near(run(ids, {&r, 1}), golden_.array("s1.logits"), 1e-4f);
}

// What an observer is shown is what is computed: a layer's stream and its two branches make the next layer's stream.
TEST_P(TransformerTest, TheBranchesMakeTheNextStream) {
  struct Watch : Observer {
    std::vector<std::vector<float>> resid, before, branch[2];
    static std::vector<float> copy(MatView<const float> m) { return {m.data, m.data + m.rows * m.cols}; }
    void on_residual(size_t, MatView<const float> x) override { resid.push_back(copy(x)); }
    void on_branch(size_t layer, Branch b, MatView<const float> x, MatView<const float> out) override {
      if (b == Branch::kAttention) before.push_back(copy(x));
      branch[int(b)].push_back(copy(out));
      EXPECT_EQ(branch[int(b)].size(), layer + 1);
    }
  } watch;
  transformer_.observer = &watch;
  run_alone(golden_.sequences[1].ids);
  const ModelConfig& c = model_.config();
  ASSERT_EQ(watch.resid.size(), c.n_layer + 1);
  for (size_t layer = 0; layer < c.n_layer; ++layer) {
    EXPECT_EQ(watch.before[layer], watch.resid[layer]);
    if (c.norm_place == NormPlace::kPost) continue;  // a norm stands between
    for (size_t i = 0; i < watch.resid[layer].size(); ++i)
      ASSERT_NEAR(watch.resid[layer + 1][i],
                  watch.resid[layer][i] + c.residual_scale * (watch.branch[0][layer][i] + watch.branch[1][layer][i]),
                  1e-5f);
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, TransformerTest,
                         ::testing::Values("opt_sparse", "llama_mha", "bloom_h6", "gemma2", "qwen2_moe",
                                           "opt_350m_style"),
                         [](const auto& i) { return std::string(i.param); });

// Masked heads against Hugging Face's own masked run.
TEST(TransformerPlan, MaskedHeadsMatchGolden) {
  const auto shared = shared_path("golden/models/opt");
  if (!shared)
    GTEST_SKIP() << "no shared data: the outputs with masked heads of the model 'opt' are not in the repository";
  const fs::path folder = *shared;
  Compute compute(2);
  const Model model(open_model(folder).file, {}, compute);
  const GoldenData golden(folder / "golden");
  ASSERT_TRUE(golden.has("headmask"));
  const ModelConfig& c = model.config();
  const std::vector<float> mask = golden.array("headmask");
  for (size_t s = 0; s < golden.sequences.size(); ++s) {
    const auto& ids = golden.sequences[s].ids;
    GivenPlan kept;
    for (size_t layer = 0; layer < c.n_layer; ++layer) {
      std::vector<uint32_t> heads;
      for (uint32_t h = 0; h < c.n_head; ++h)
        if (mask[layer * c.n_head + h] != 0) heads.push_back(h);
      kept.set(layer, Point::kHeads, Rows::of(heads, c.n_head), ids.size());
    }
    KvCache cache(Transformer::kv_shape(c), 128);
    Transformer transformer(model, cache, compute);
    const hunch::Run r{cache.create(), ids.size(), Phase::kDecode, &kept.plan};
    const std::vector<uint32_t> rows = rows_up_to(ids.size());
    const MatView<const float> logits = transformer.run({ids, {&r, 1}, rows});
    expect_near({logits.data, logits.rows * logits.cols}, golden.array("s" + std::to_string(s) + ".logits_headmask"),
                1e-4f);
  }
}

// Decoding a ReLU model by the exact plan reads fewer bytes, counts the density and changes nothing.
TEST(TransformerPlan, ExactSkipsZeroNeuronsAndCountsThem) {
  Compute compute(2);
  const Model model(open_model(golden_fixture("opt_sparse")).file, {}, compute);
  ASSERT_EQ(model.weights().down_layout, DownLayout::kTransposed);
  const GoldenData golden(golden_fixture("opt_sparse") / "golden");
  const Plan exact = Plan::exact(model.config());
  std::vector<float> logits[2];
  StepStats stats[2];
  for (int i = 0; i < 2; ++i) {
    KvCache cache(Transformer::kv_shape(model.config()), 128);
    Transformer transformer(model, cache, compute);
    const hunch::Run r{cache.create(), 1, Phase::kDecode, i ? &exact : nullptr};
    for (int32_t id : golden.sequences[1].ids) {
      const uint32_t row = 0;
      append_rows(transformer.run({{&id, 1}, {&r, 1}, {&row, 1}}), logits[i]);
    }
    stats[i] = transformer.stats;
  }
  expect_near(logits[1], logits[0], 1e-5f);
  EXPECT_EQ(stats[0].active_neurons, stats[1].active_neurons);
  uint64_t active = 0, all = 0;
  for (size_t l = 0; l < model.config().n_layer; ++l)
    active += stats[1].active_neurons[l], all += stats[1].all_neurons[l];
  EXPECT_LT(active, all);
  const uint64_t row_bytes = model.config().n_embd * sizeof(float);
  EXPECT_EQ(stats[0].weight_bytes - stats[1].weight_bytes, (all - active) * row_bytes);
}

// Plans with a predictor that says what is known in advance.
class PredictedPlan : public ::testing::Test {
 protected:
  // A static set of neurons per layer.
  struct Fixed : Predictor {
    std::vector<float> scores;
    size_t width;
    void score(Compute& compute, MatView<const float> X, MatView<float> out) const override {
      compute.meter.read_weights(bytes());
      for (size_t t = 0; t < X.rows; ++t) std::ranges::copy(scores, out.row(t).begin());
    }
    std::string_view kind() const override { return "fixed"; }
    size_t n_in() const override { return width; }
    size_t n_out() const override { return scores.size(); }
    size_t bytes() const override { return 1000; }
  };

  PredictedPlan() {
    const ModelConfig& c = model_.config();
    std::mt19937 rng(1);
    for (size_t l = 0; l < c.n_layer; ++l) {
      Fixed& f = predictors_.emplace_back();
      f.width = c.n_embd;
      for (size_t k = 0; k < c.n_ff; ++k) f.scores.push_back(float(rng() % 100));
    }
  }
  Plan plan(float threshold) {
    Plan p = exact_;
    for (size_t l = 0; l < predictors_.size(); ++l)
      p.set(l, Point::kNeurons,
            {std::make_shared<const Predicted>(predictors_[l], threshold), l % 2 ? Look::kAttention : Look::kHere});
    return p;
  }
  std::vector<float> run(const Plan* plan, size_t at_once, StepStats* stats = nullptr, Phase phase = Phase::kDecode) {
    KvCache cache(Transformer::kv_shape(model_.config()), 128);
    Transformer transformer(model_, cache, compute_);
    const auto sequence = cache.create();
    const auto& ids = golden_.sequences[1].ids;
    std::vector<float> out;
    for (size_t first = 0; first < ids.size(); first += at_once) {
      const size_t n = std::min(at_once, ids.size() - first);
      hunch::Run r{sequence, n, phase, plan};
      r.only_best = only_best_;
      const std::vector<uint32_t> rows = rows_up_to(n);
      append_rows(transformer.run({std::span(ids).subspan(first, n), {&r, 1}, rows}), out);
    }
    if (stats) *stats = transformer.stats;
    return out;
  }

  Compute compute_{2};
  Model model_{open_model(golden_fixture("opt_sparse")).file, {}, compute_};
  GoldenData golden_{golden_fixture("opt_sparse") / "golden"};
  Plan exact_ = Plan::exact(model_.config());
  std::deque<Fixed> predictors_;
  bool only_best_ = false;
};

TEST_F(PredictedPlan, PredictingEverythingIsDense) {
  const Plan all = plan(-1);
  expect_near(run(&all, 1), run(nullptr, 1), 1e-5f);
}

TEST_F(PredictedPlan, ComputesThePredictedNeuronsAndNoOthers) {
  const Plan some = plan(60);
  const size_t n_tokens = golden_.sequences[1].ids.size();
  GivenPlan given;
  std::vector<Rows> kept;
  for (size_t l = 0; l < predictors_.size(); ++l) {
    const Fixed& f = predictors_[l];
    std::vector<uint32_t> rows;
    for (uint32_t k = 0; k < f.scores.size(); ++k)
      if (f.scores[k] > 60) rows.push_back(k);
    kept.push_back(Rows::of(rows, f.scores.size()));
    given.set(l, Point::kNeurons, kept.back(), n_tokens);
  }
  const auto want = run(&given.plan, n_tokens);
  StepStats sparse, exact;
  expect_near(run(&some, 1, &sparse), want, 1e-5f);
  expect_near(run(&some, 3), want, 1e-5f);
  expect_near(run(&some, n_tokens), want, 1e-5f);
  run(&exact_, 1, &exact);
  EXPECT_EQ(sparse.predictor_bytes, 1000 * n_tokens * predictors_.size());
  for (size_t l = 0; l < predictors_.size(); ++l) EXPECT_EQ(sparse.active_neurons[l], n_tokens * kept[l].size());
  EXPECT_LT(sparse.weight_bytes - sparse.predictor_bytes, exact.weight_bytes);
}

// A screen that knows all but one value of each input, with Cauchy and Schwarz's bound for the rest: the largest logit
// stays what and where it is, others are guessed lower. Without `only_best` nothing is guessed.
TEST_F(PredictedPlan, TheScreenKeepsTheBestLogit) {
  const WeightView W = model_.weights().output->rows();
  const size_t rank = W.cols - 1;
  std::vector<float> axes(rank * W.cols), known(W.rows * rank), row(W.cols), outside;
  for (size_t i = 0; i < rank; ++i) axes[i * W.cols + i] = 1;
  for (size_t r = 0; r < W.rows; ++r) {
    codec(W.dtype).decode(W.row(r), row.data(), W.cols);
    std::copy_n(row.begin(), rank, &known[r * rank]);
    const std::span<const float> rest = std::span(row).subspan(rank);
    outside.push_back(std::sqrt(dot(rest, rest)) + 1e-4f);
  }
  const auto screen = std::make_shared<const VocabScreen>(ScreenWeights{weight_view({axes.data(), rank, W.cols}),
                                                                        weight_view({known.data(), W.rows, rank}),
                                                                        outside, std::vector<float>(W.rows, 0.0f), 1});
  Plan listed = exact_;
  listed.set_screen(screen);
  const auto want = run(&exact_, 1);
  expect_near(run(&listed, 1), want, 1e-5f);
  only_best_ = true;
  StepStats stats;
  const size_t n_tokens = golden_.sequences[1].ids.size(), n_vocab = W.rows;
  ASSERT_GT(n_tokens, 3u);
  for (const size_t at_once : {1, 2}) {
    const auto got = run(&listed, at_once, &stats);
    size_t guessed = 0;
    for (size_t t = 0; t < n_tokens; ++t) {
      const std::span<const float> a = std::span(got).subspan(t * n_vocab, n_vocab),
                                   b = std::span(want).subspan(t * n_vocab, n_vocab);
      EXPECT_EQ(argmax(a), argmax(b));
      EXPECT_NEAR(a[argmax(a)], b[argmax(b)], 1e-4f);
      for (size_t i = 0; i < n_vocab; ++i) guessed += std::abs(a[i] - b[i]) > 1e-4f;
    }
    EXPECT_GT(guessed, 0u);
    EXPECT_EQ(stats.predictor_bytes, screen->bytes() * ((n_tokens + at_once - 1) / at_once))
        << "the rows share one guess";
  }
  // So many read the whole vocabulary together.
  run(&listed, n_tokens, &stats);
  EXPECT_EQ(stats.predictor_bytes, 0u);
}

TEST_F(PredictedPlan, PromptsAreDenseOtherTokensAreNot) {
  const Plan none = plan(1000);
  const size_t n_tokens = golden_.sequences[1].ids.size();
  for (const size_t at_once : {size_t{1}, n_tokens}) {
    const auto dense = run(nullptr, at_once);
    StepStats stats;
    EXPECT_EQ(run(&none, at_once, &stats, Phase::kPrompt), dense);
    EXPECT_EQ(stats.predictor_bytes, 0u);
    for (const Phase phase : {Phase::kDecode, Phase::kVerify})
      EXPECT_GT(worst_difference(run(&none, at_once, nullptr, phase), dense), 1e-3f) << "no neuron at all was computed";
  }
}

}  // namespace
}  // namespace hunch
