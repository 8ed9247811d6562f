// Plans that choose groups of heads: against the masked dense pass, token by token, together, and looking
// ahead.
#include <gtest/gtest.h>

#include <deque>

#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/test_steps.h"
#include "select/selectors.h"

namespace hunch {
namespace {

// Scores that depend on the input as erratically as possible, but on nothing else. Remembers what it was shown.
class ErraticPredictor : public Predictor {
 public:
  ErraticPredictor(size_t n_in, size_t n_groups, uint32_t salt) : n_in_(n_in), n_groups_(n_groups), salt_(salt) {}
  void score(Compute&, MatView<const float> X, MatView<float> scores) const override {
    for (size_t t = 0; t < X.rows; ++t) {
      seen.insert(seen.end(), X.row(t).begin(), X.row(t).end());
      // Coarse, so that rounding does not change it.
      const long hash =
          std::lround(X.row(t)[salt_ % n_in_] * 4) * 7 + std::lround(X.row(t)[(salt_ + 5) % n_in_] * 4) * 13 + salt_;
      for (size_t g = 0; g < n_groups_; ++g) scores.row(t)[g] = float((unsigned(hash) + g * 5) % 7);
    }
  }
  std::string_view kind() const override { return "erratic"; }
  size_t n_in() const override { return n_in_; }
  size_t n_out() const override { return n_groups_; }
  size_t bytes() const override { return 64; }
  mutable std::vector<float> seen;

 private:
  size_t n_in_, n_groups_;
  uint32_t salt_;
};

class HeadsTest : public ::testing::TestWithParam<const char*> {
 protected:
  Compute compute_{2};
  Model model_{open_model(golden_fixture(GetParam())).file, {}, compute_};
  GoldenData golden_{golden_fixture(GetParam()) / "golden"};
  const ModelConfig& c_ = model_.config();
  const Plan exact_ = Plan::exact(c_);
  std::deque<ErraticPredictor> predictors_;

  // Even layers look at their own input, odd ones at that of the layer before.
  Plan plan(float threshold) {
    Plan p = exact_;
    for (size_t l = 0; l < c_.n_layer; ++l) {
      predictors_.emplace_back(c_.n_embd, c_.n_kv_head, uint32_t(l));
      p.set(l, Point::kHeads,
            {std::make_shared<const Predicted>(predictors_.back(), threshold),
             l % 2 ? Look::kPreviousAttention : Look::kHere});
    }
    return p;
  }

  struct Result {
    std::vector<float> logits;
    StepStats stats;
  };
  struct Pass {
    size_t n_together = 1;
    bool as_alone = false;
  };
  // Every token is restricted as the plan says.
  Result run(const Plan* plan, const std::vector<int32_t>& ids, const Pass& pass, Observer* observer = nullptr) {
    KvCache cache(Transformer::kv_shape(c_, DType::kF32, 8), 512);
    Transformer transformer(model_, cache, compute_);
    transformer.observer = observer;
    const auto sequence = cache.create();
    Result result;
    for (size_t at = 0; at < ids.size(); at += pass.n_together) {
      const hunch::Run r{sequence, std::min(pass.n_together, ids.size() - at),
                         pass.as_alone ? Phase::kVerify : Phase::kDecode, plan, pass.as_alone};
      const std::vector<uint32_t> rows = rows_up_to(r.n_tokens);
      append_rows(transformer.run({std::span(ids).subspan(at, r.n_tokens), {&r, 1}, rows}), result.logits);
    }
    result.stats = transformer.stats;
    return result;
  }
};

void expect_near(std::span<const float> got, std::span<const float> want, float tolerance) {
  ASSERT_EQ(got.size(), want.size());
  EXPECT_LE(worst_difference(got, want), tolerance);
}

TEST_P(HeadsTest, ChoosingEveryHeadChangesNothing) {
  const Plan all = plan(-INFINITY);
  const std::vector<int32_t>& ids = golden_.sequences[1].ids;
  const Result want = run(&exact_, ids, {}), got = run(&all, ids, {});
  EXPECT_EQ(got.logits, want.logits);
  EXPECT_EQ(got.stats.active_heads, got.stats.all_heads);
}

TEST_P(HeadsTest, ChosenHeadsAreComputedAndTheOthersAreNot) {
  const std::vector<int32_t>& ids = golden_.sequences[1].ids;
  for (const bool block_major : {false, true}) {
    if (block_major) store_heads_by_group(model_, compute_);
    const Plan some = plan(3);
    const Result dense = run(nullptr, ids, {});
    const Result masked = run(&some, ids, {.n_together = ids.size()});
    const Result got = run(&some, ids, {}), four = run(&some, ids, {.n_together = 4});
    expect_near(got.logits, masked.logits, 2e-5f);
    expect_near(four.logits, masked.logits, 2e-5f);
    EXPECT_NE(got.logits, dense.logits);
    EXPECT_EQ(got.stats.active_heads, masked.stats.active_heads);
    EXPECT_LT(got.stats.active_heads[1], got.stats.all_heads[1]);
    EXPECT_GT(got.stats.active_heads[1], 0u);
    EXPECT_LT(got.stats.weight_bytes, dense.stats.weight_bytes);
    EXPECT_LT(got.stats.kv_bytes, run(&exact_, ids, {}).stats.kv_bytes);
  }
}

// No head at all: attention adds nothing but the bias of W_o.
TEST_P(HeadsTest, ChoosingNoHeadIsAllowed) {
  const Plan none = plan(INFINITY);
  const std::vector<int32_t>& ids = golden_.sequences[1].ids;
  const Result got = run(&none, ids, {}), masked = run(&none, ids, {.n_together = ids.size()});
  expect_near(got.logits, masked.logits, 2e-5f);
  EXPECT_EQ(got.stats.active_heads[1], 0u);
}

TEST_P(HeadsTest, EveryTokenAsAloneHasTheBitsOfAPassWithItAlone) {
  const Plan some = plan(3);
  const std::vector<int32_t>& ids = golden_.sequences[1].ids;
  const Result one_by_one = run(&some, ids, {});
  for (const size_t n_together : {3, 17})
    EXPECT_EQ(run(&some, ids, {.n_together = n_together, .as_alone = true}).logits, one_by_one.logits) << n_together;
}

TEST_P(HeadsTest, SequencesOfABatchDoNotSeeEachOther) {
  const Plan some = plan(3);
  const std::vector<int32_t> all = golden_.sequences[2].ids, a(all.begin(), all.begin() + 12),
                             b(all.begin() + 20, all.begin() + 32);
  const std::vector<float> want_a = run(&some, a, {}).logits, want_b = run(&some, b, {}).logits;
  KvCache cache(Transformer::kv_shape(c_, DType::kF32, 8), 512);
  Transformer transformer(model_, cache, compute_);
  const hunch::Run runs[] = {{cache.create(), 1, Phase::kDecode, &some}, {cache.create(), 1, Phase::kDecode, &some}};
  const uint32_t rows[] = {0, 1};
  for (size_t i = 0; i < 12; ++i) {
    const int32_t ids[] = {a[i], b[i]};
    const MatView<const float> l = transformer.run({ids, runs, rows});
    expect_near(l.row(0), std::span(want_a).subspan(i * c_.n_vocab, c_.n_vocab), 2e-5f);
    expect_near(l.row(1), std::span(want_b).subspan(i * c_.n_vocab, c_.n_vocab), 2e-5f);
  }
}

// A predictor is shown exactly what attention of its own layer, or of the layer before, is shown.
TEST_P(HeadsTest, PredictorsSeeTheInputThatTheirPlanNames) {
  struct Watch : Observer {
    std::vector<std::vector<float>> in;
    void on_attention_input(size_t layer, MatView<const float> x) override {
      in.resize(std::max(in.size(), layer + 1));
      in[layer].insert(in[layer].end(), x.data, x.data + x.rows * x.cols);
    }
  } watch;
  const Plan some = plan(3);
  run(&some, golden_.sequences[1].ids, {}, &watch);
  ASSERT_GE(c_.n_layer, 2u);
  for (size_t l = 0; l < c_.n_layer; ++l) EXPECT_EQ(predictors_[l].seen, watch.in[l % 2 ? l - 1 : l]) << l;
}

// More tokens than a head may be behind, so that heads catch up both when chosen and when nobody chooses them.
std::vector<int32_t> long_text(const GoldenData& golden) {
  std::vector<int32_t> ids;
  while (ids.size() < 120)
    for (const auto& s : golden.sequences) ids.insert(ids.end(), s.ids.begin(), s.ids.end());
  ids.resize(120);
  return ids;
}

TEST_P(HeadsTest, KeysComputedLateHaveTheBitsOfKeysComputedWithTheirToken) {
  const std::vector<int32_t> ids = long_text(golden_);
  for (const float threshold : {3.0f, 5.0f, INFINITY}) {
    Plan written = plan(threshold), lazy = written;
    lazy.lazy_keys = true;
    const Result want = run(&written, ids, {}), got = run(&lazy, ids, {});
    EXPECT_EQ(got.logits, want.logits);
    EXPECT_EQ(got.stats.active_heads, want.stats.active_heads);
    EXPECT_EQ(got.stats.kv_bytes, want.stats.kv_bytes);
    EXPECT_LT(got.stats.weight_bytes, want.stats.weight_bytes);
    for (const size_t n_together : {3, 17})
      EXPECT_EQ(run(&lazy, ids, {.n_together = n_together, .as_alone = true}).logits, want.logits) << n_together;
  }
}

// Whoever takes over from a lazy pass finds the keys that it left out.
TEST_P(HeadsTest, OtherPassesFindTheMissingKeys) {
  const std::vector<int32_t> ids = long_text(golden_);
  Plan written = plan(5), lazy = written;
  lazy.lazy_keys = true;
  const auto life = [&](const Plan& p) {
    KvCache cache(Transformer::kv_shape(c_, DType::kF32, 8), 512);
    Transformer transformer(model_, cache, compute_);
    auto sequence = cache.create();
    std::vector<float> logits;
    size_t at = 0;
    const auto pass = [&](const Plan& plan, Phase phase, size_t n, bool as_alone = false) {
      const hunch::Run r{sequence, n, phase, &plan, as_alone};
      const std::vector<uint32_t> rows = rows_up_to(n);
      append_rows(transformer.run({std::span(ids).subspan(at, n), {&r, 1}, rows}), logits);
      at += n;
    };
    const auto back = [&](size_t n) {
      cache.truncate(sequence, cache.n_tokens(sequence) - n);
      at -= n;
    };
    const auto decode = [&](size_t n) {
      for (size_t i = 0; i < n; ++i) pass(p, Phase::kDecode, 1);
    };
    pass(p, Phase::kPrompt, 9);
    decode(7);
    pass(exact_, Phase::kDecode, 1);  // another plan goes on
    decode(20);
    pass(p, Phase::kPrompt, 6);
    decode(5);
    back(3);
    decode(4);
    back(2);
    pass(exact_, Phase::kVerify, 5, true);
    decode(11);
    const auto parent = sequence;  // both sides of a fork go on
    sequence = cache.fork(parent);
    decode(6);
    back(6);
    sequence = parent;
    pass(exact_, Phase::kDecode, 3);
    decode(3);
    return logits;
  };
  EXPECT_EQ(life(lazy), life(written));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, HeadsTest,
                         ::testing::Values("opt_sparse", "llama_mha", "bloom_h6", "gemma2", "qwen2_moe",
                                           "opt_350m_style"),
                         [](const auto& i) { return std::string(i.param); });

}  // namespace
}  // namespace hunch
