#include "compress/head_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "compress/mlp_trace.h"
#include "compress/sparsify.h"
#include "formats/format.h"
#include "synth/text.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

SynthOptions planted() {
  SynthOptions o;
  o.shape = synth_shape("opt-125m");
  o.shape.n_layer = 3;
  o.shape.n_embd = 256;
  o.shape.n_ff = 1024;
  o.shape.n_head = o.shape.n_kv_head = 16;
  o.shape.n_vocab = 1500;
  o.shape.n_ctx = 256;
  o.dtype = DType::kF32;
  o.planting.density = {0.05, 0.1, 0.2};
  o.planting.head_density = 0.42;
  o.planting.n_contexts = 6;
  return o;
}

// A model in which each context has heads of its own, and a text of it.
class HeadFitTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const fs::path path = fs::path(testing::TempDir()) / "head_fit.gguf";
    Compute compute(2);
    write_synth(path, planted(), compute);
    engine_ = new Engine(load_engine(path, {1}));
    fs::remove(path);
    ids_ = synth_text_ids(planted(), 2700, 1);  // some twenty stretches: every context is met
  }
  static void TearDownTestSuite() { delete engine_; }

  std::vector<HeadTrace> trace(Look input) {
    HeadRecorder recorder(*engine_, input, 0, 3, ids_.size());
    trace_mlps(*engine_, ids_, {.first_layer = 0, .n_layers = 1}, {}, &recorder);
    return recorder.take();
  }
  static Engine* engine_;
  static std::vector<int32_t> ids_;
};
Engine* HeadFitTest::engine_ = nullptr;
std::vector<int32_t> HeadFitTest::ids_;

TEST(GroupNorms, AreTheNormsOfWhatEachGroupAdds) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  constexpr size_t kGroups = 3, kWidth = 8, kOut = 20, kTokens = 5;
  Matrix W(kOut, kGroups * kWidth), X(kTokens, kGroups * kWidth), got(kTokens, kGroups);
  for (float& w : W.values) w = normal(rng);
  for (float& x : X.values) x = normal(rng);
  Compute compute(2);
  GroupNorms(compute, W.weights(), kGroups).squared(compute, X.view(), got.view());
  for (size_t t = 0; t < kTokens; ++t)
    for (size_t g = 0; g < kGroups; ++g) {
      double want = 0;
      for (size_t r = 0; r < kOut; ++r) {
        double sum = 0;
        for (size_t i = g * kWidth; i < (g + 1) * kWidth; ++i) sum += double(W.row(r)[i]) * X.row(t)[i];
        want += sum * sum;
      }
      EXPECT_NEAR(got.row(t)[g], want, 1e-4 * want);
    }
}

TEST_F(HeadFitTest, SharesSumToOneAndInputsAreThoseOfTheLayerThatIsNamed) {
  const std::vector<HeadTrace> same = trace(Look::kHere), before = trace(Look::kPreviousAttention);
  EXPECT_TRUE(before[0].input.empty());
  EXPECT_FALSE(same[0].input.empty());
  for (size_t l = 1; l < 3; ++l)
    EXPECT_TRUE(std::ranges::equal(before[l].input, same[l - 1].input, [](f16 a, f16 b) {
      return to_f32(a) == to_f32(b);
    })) << l;
  for (const HeadTrace& t : same) {
    ASSERT_EQ(t.n_tokens, ids_.size());
    for (size_t i = 0; i < t.n_tokens; ++i) {
      float sum = 0;
      for (float s : t.shares(i)) sum += s;
      ASSERT_NEAR(sum, 1, 1e-4f);
    }
  }
}

// Planted are 42 % of the heads; a tenth more are enough to find nine in ten of those that matter.
TEST_F(HeadFitTest, FindsThePlantedHeads) {
  for (const Look input : {Look::kHere, Look::kPreviousAttention})
    for (const HeadTrace& t : trace(input)) {
      const HeadFit fit = fit_heads(*engine_, t, 1800);
      if (input == Look::kPreviousAttention && t.layer == 0) {
        EXPECT_TRUE(fit.candidates.empty());
        continue;
      }
      const auto recall_at = [](const HeadCandidate& c, float density) {
        float best = 0;
        for (const CurvePoint& p : c.curve)
          if (p.density <= density) best = std::max(best, p.recall);
        return best;
      };
      float linear = 0, hot = 0;
      for (const HeadCandidate& c : fit.candidates) {
        float& best = c.name == "hot" ? hot : linear;
        best = std::max(best, recall_at(c, 0.52f));
      }
      EXPECT_GT(linear, 0.9f) << "layer " << t.layer;
      EXPECT_LT(hot, linear - 0.1f) << "layer " << t.layer << ": the same heads for every token would do";
      EXPECT_EQ(fit.selected_bytes + fit.always_bytes, 4 * 256 * 256 * 4.0 + 2 * 256 * 4.0 * kTypicalContext);
    }
}

TEST_F(HeadFitTest, SparsifyLeavesHeadsOutAndItsSidecarComesBack) {
  SparsifyOptions options;
  options.predictor = "hot";
  options.screen = false;
  options.max_ppl_increase = 0.05;
  for (const Look input : {Look::kHere, Look::kPreviousAttention}) {
    options.head_input = input;
    options.heads = input == Look::kHere ? HeadMode::kAuto : HeadMode::kLazy;
    const SparsifyReport report = sparsify(*engine_, std::span(ids_).first(1500), options);
    EXPECT_TRUE(report.met);
    EXPECT_LT(report.rows[2].density_heads, 0.85);
    EXPECT_EQ(report.rows[1].density_heads, 1);
    const fs::path path = fs::path(testing::TempDir()) / "head_fit.hunch";
    write_sidecar(path, report.sidecar);
    const Sidecar again = open_sidecar(path);
    fs::remove(path);
    check_sidecar(again, engine_->model->file(), engine_->config());
    const Plan want = report.sidecar.plan(engine_->config()), plan = again.plan(engine_->config());
    EXPECT_EQ(plan.lazy_keys, want.lazy_keys);
    if (options.heads == HeadMode::kLazy) {
      EXPECT_TRUE(plan.lazy_keys);
    } else {
      EXPECT_TRUE(
          std::ranges::any_of(report.notes, [](const std::string& note) { return note.starts_with("keys of heads"); }));
    }
    size_t n_layers = 0;
    for (size_t l = 0; l < 3; ++l) {
      const PlanEntry &heads = plan.at(l, Point::kHeads), &wanted = want.at(l, Point::kHeads);
      ASSERT_EQ(bool(heads.selector), bool(wanted.selector));
      if (!heads.selector) continue;
      ++n_layers;
      EXPECT_EQ(heads.look, input);
      const auto threshold = [&](const Sidecar& sidecar) {
        const SidecarHeads& h = sidecar.layers[l].heads;
        return h.curve[h.point].threshold;
      };
      EXPECT_EQ(threshold(again), threshold(report.sidecar));
    }
    EXPECT_GT(n_layers, 0u);
  }
  options.heads = HeadMode::kOff;
  EXPECT_EQ(sparsify(*engine_, std::span(ids_).first(kMinSparsifyTokens), options).rows[2].density_heads, 1);
}

}  // namespace
}  // namespace hunch
