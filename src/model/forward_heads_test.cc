// Sparse mode restricted to groups of heads: against the masked dense pass, token by token, together, and looking
// ahead.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>

#include "base/test_paths.h"
#include "model/forward.h"
#include "model/golden_data.h"
#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// Scores that depend on the input as erratically as possible, but on nothing else. Remembers what it was shown.
class ErraticPredictor : public NeuronPredictor {
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
  size_t n_ff() const override { return n_groups_; }
  size_t bytes() const override { return 64; }
  mutable std::vector<float> seen;

 private:
  size_t n_in_, n_groups_;
  uint32_t salt_;
};

class ForwardHeadsTest : public ::testing::TestWithParam<const char*> {
 protected:
  fs::path folder_ = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / GetParam();
  Compute compute_{2};
  Model model_{open_model(folder_).file, {}, compute_};
  GoldenData golden_{folder_ / "golden"};
  const ModelConfig& c_ = model_.config();
  std::deque<ErraticPredictor> predictors_;
  std::vector<AlignedBuffer> copies_;

  // Even layers look at their own input, odd ones at that of the layer before.
  SparsePlan plan(float threshold, bool block_major = false) {
    SparsePlan p;
    p.layers.resize(c_.n_layer);
    for (size_t l = 0; l < c_.n_layer; ++l) {
      predictors_.emplace_back(c_.n_embd, c_.n_kv_head, uint32_t(l));
      HeadPlan& heads = p.layers[l].heads;
      heads.groups = &predictors_.back();
      heads.input = l % 2 ? HeadInput::kPreviousAttention : HeadInput::kAttention;
      heads.threshold = threshold;
      if (!block_major) continue;
      const ColumnBlocks blocks = column_blocks(model_.weights().layers[l].o.W, c_.n_kv_head);
      copies_.emplace_back(block_major_bytes(blocks));
      heads.W_o = to_block_major(compute_, blocks, copies_.back().data());
    }
    return p;
  }

  struct Result {
    std::vector<float> logits;
    ForwardStats stats;
  };
  struct Pass {
    Mode mode = Mode::kSparse;
    size_t n_together = 1;
    bool as_alone = false, every_token = false;
  };
  Result run(const SparsePlan* plan, const std::vector<int32_t>& ids, const Pass& pass,
             ForwardObserver* observer = nullptr) {
    KvCache cache(Forward::kv_shape(c_, DType::kF32, 8), 512);
    Forward forward(model_, cache, compute_);
    forward.mode = pass.mode;
    forward.plan = plan;
    forward.predict_every_token = pass.every_token;
    forward.observer = observer;
    const auto sequence = cache.create();
    Result result;
    for (size_t at = 0; at < ids.size(); at += pass.n_together) {
      const SequenceRun r{sequence, std::min(pass.n_together, ids.size() - at)};
      std::vector<uint32_t> rows(r.n_tokens);
      for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
      const MatView<const float> l =
          forward.run({std::span(ids).subspan(at, r.n_tokens), {&r, 1}, rows, {}, pass.as_alone});
      result.logits.insert(result.logits.end(), l.data, l.data + l.rows * l.cols);
    }
    result.stats = forward.stats;
    return result;
  }
};

void expect_near(std::span<const float> got, std::span<const float> want, float tolerance) {
  ASSERT_EQ(got.size(), want.size());
  float worst = 0;
  for (size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::isfinite(got[i]) ? std::abs(got[i] - want[i]) : INFINITY);
  EXPECT_LE(worst, tolerance);
}

TEST_P(ForwardHeadsTest, ChoosingEveryHeadChangesNothing) {
  const SparsePlan all = plan(-INFINITY);
  const std::vector<int32_t>& ids = golden_.sequences[1].ids;
  const Result want = run(nullptr, ids, {.mode = Mode::kExact}), got = run(&all, ids, {});
  EXPECT_EQ(got.logits, want.logits);
  EXPECT_EQ(got.stats.active_heads, got.stats.all_heads);
}

TEST_P(ForwardHeadsTest, ChosenHeadsAreComputedAndTheOthersAreNot) {
  const std::vector<int32_t>& ids = golden_.sequences[1].ids;
  for (const bool block_major : {false, true}) {
    const SparsePlan some = plan(3, block_major);
    const Result dense = run(nullptr, ids, {.mode = Mode::kDense});
    const Result masked = run(&some, ids, {.n_together = ids.size(), .every_token = true});
    const Result got = run(&some, ids, {}), four = run(&some, ids, {.n_together = 4});
    expect_near(got.logits, masked.logits, 2e-5f);
    expect_near(four.logits, masked.logits, 2e-5f);
    EXPECT_NE(got.logits, dense.logits);
    EXPECT_EQ(got.stats.active_heads, masked.stats.active_heads);
    EXPECT_LT(got.stats.active_heads[1], got.stats.all_heads[1]);
    EXPECT_GT(got.stats.active_heads[1], 0u);
    EXPECT_LT(got.stats.weight_bytes, dense.stats.weight_bytes);
    EXPECT_LT(got.stats.kv_bytes, run(nullptr, ids, {.mode = Mode::kExact}).stats.kv_bytes);
  }
}

// No head at all: attention adds nothing but the bias of W_o.
TEST_P(ForwardHeadsTest, ChoosingNoHeadIsAllowed) {
  const SparsePlan none = plan(INFINITY);
  const std::vector<int32_t>& ids = golden_.sequences[1].ids;
  const Result got = run(&none, ids, {}), masked = run(&none, ids, {.n_together = ids.size(), .every_token = true});
  expect_near(got.logits, masked.logits, 2e-5f);
  EXPECT_EQ(got.stats.active_heads[1], 0u);
}

TEST_P(ForwardHeadsTest, EveryTokenAsAloneHasTheBitsOfAPassWithItAlone) {
  const SparsePlan some = plan(3);
  const std::vector<int32_t>& ids = golden_.sequences[1].ids;
  const Result one_by_one = run(&some, ids, {});
  for (const size_t n_together : {3, 17})
    EXPECT_EQ(run(&some, ids, {.n_together = n_together, .as_alone = true}).logits, one_by_one.logits) << n_together;
}

TEST_P(ForwardHeadsTest, SequencesOfABatchDoNotSeeEachOther) {
  const SparsePlan some = plan(3);
  const std::vector<int32_t> all = golden_.sequences[2].ids, a(all.begin(), all.begin() + 12),
                             b(all.begin() + 20, all.begin() + 32);
  const std::vector<float> want_a = run(&some, a, {}).logits, want_b = run(&some, b, {}).logits;
  KvCache cache(Forward::kv_shape(c_, DType::kF32, 8), 512);
  Forward forward(model_, cache, compute_);
  forward.mode = Mode::kSparse;
  forward.plan = &some;
  const SequenceRun runs[] = {{cache.create(), 1}, {cache.create(), 1}};
  const uint32_t rows[] = {0, 1};
  for (size_t i = 0; i < 12; ++i) {
    const int32_t ids[] = {a[i], b[i]};
    const MatView<const float> l = forward.run({ids, runs, rows, {}});
    expect_near(l.row(0), std::span(want_a).subspan(i * c_.n_vocab, c_.n_vocab), 2e-5f);
    expect_near(l.row(1), std::span(want_b).subspan(i * c_.n_vocab, c_.n_vocab), 2e-5f);
  }
}

// A predictor is shown exactly what attention of its own layer, or of the layer before, is shown.
TEST_P(ForwardHeadsTest, PredictorsSeeTheInputThatTheirPlanNames) {
  struct Watch : ForwardObserver {
    std::vector<std::vector<float>> in;
    void on_attention_input(size_t layer, MatView<const float> x) override {
      in.resize(std::max(in.size(), layer + 1));
      in[layer].insert(in[layer].end(), x.data, x.data + x.rows * x.cols);
    }
  } watch;
  const SparsePlan some = plan(3);
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

TEST_P(ForwardHeadsTest, KeysComputedLateHaveTheBitsOfKeysComputedWithTheirToken) {
  const std::vector<int32_t> ids = long_text(golden_);
  for (const float threshold : {3.0f, 5.0f, INFINITY}) {
    SparsePlan written = plan(threshold), lazy = written;
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
TEST_P(ForwardHeadsTest, OtherPassesFindTheMissingKeys) {
  const std::vector<int32_t> ids = long_text(golden_);
  SparsePlan written = plan(5), lazy = written;
  lazy.lazy_keys = true;
  const auto life = [&](const SparsePlan& p) {
    KvCache cache(Forward::kv_shape(c_, DType::kF32, 8), 512);
    Forward sparse(model_, cache, compute_), dense(model_, cache, compute_);
    sparse.mode = Mode::kSparse;
    sparse.plan = &p;
    dense.mode = Mode::kExact;
    auto sequence = cache.create();
    std::vector<float> logits;
    size_t at = 0;
    const auto pass = [&](Forward& forward, size_t n, bool as_alone = false) {
      const SequenceRun r{sequence, n};
      std::vector<uint32_t> rows(n);
      for (uint32_t i = 0; i < n; ++i) rows[i] = i;
      const MatView<const float> l = forward.run({std::span(ids).subspan(at, n), {&r, 1}, rows, {}, as_alone});
      logits.insert(logits.end(), l.data, l.data + l.rows * l.cols);
      at += n;
    };
    const auto back = [&](size_t n) {
      cache.truncate(sequence, cache.n_tokens(sequence) - n);
      at -= n;
    };
    const auto decode = [&](size_t n) {
      for (size_t i = 0; i < n; ++i) pass(sparse, 1);
    };
    pass(sparse, 9);  // a prompt: dense
    decode(7);
    pass(dense, 1);  // exact mode goes on
    decode(20);
    pass(sparse, 6);  // a second prompt
    decode(5);
    back(3);
    decode(4);
    back(2);
    pass(dense, 5, true);  // a verifying pass
    decode(11);
    const auto parent = sequence;  // both sides of a fork go on
    sequence = cache.fork(parent);
    decode(6);
    back(6);
    sequence = parent;
    pass(dense, 3);
    decode(3);
    return logits;
  };
  EXPECT_EQ(life(lazy), life(written));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ForwardHeadsTest,
                         ::testing::Values("opt_sparse", "llama_mha", "bloom_h6", "gemma2", "qwen2_moe",
                                           "opt_350m_style"),
                         [](const auto& i) { return std::string(i.param); });

}  // namespace
}  // namespace hunch
