#include "compress/prompt_fit.h"

#include <gtest/gtest.h>

#include "base/test_paths.h"
#include "engine/context.h"
#include "io/test_errors.h"
#include "model/observer.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

class PromptFits : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    engine_ =
        new Engine(load_engine(fs::path(HUNCH_SOURCE_DIR) / "models" / "demo" / "hunch-demo.gguf", {.n_threads = 2}));
    std::string text = "Once upon a time there was a king who had a daughter, and she had a golden ball. ";
    for (size_t i = 0; i < 4; ++i) text += text;
    ids_ = engine_->encode(text);
    ids_.resize(std::min<size_t>(ids_.size(), 320));
  }
  static void TearDownTestSuite() { delete engine_; }
  static Engine* engine_;
  static std::vector<int32_t> ids_;
};
Engine* PromptFits::engine_ = nullptr;
std::vector<int32_t> PromptFits::ids_;

// What the softmax gives to the first `sinks` keys and to the last ones before a block's end, by reference.
class AShapeShare final : public Observer {
 public:
  AShapeShare(Context& context, const ModelConfig& config, const PromptPattern& pattern)
      : context_(context), config_(config), pattern_(pattern), kept(config.n_layer) {}
  void on_attention(size_t layer, MatView<const float> q, MatView<const float>, MatView<const float>) override {
    const LayerConfig& c = config_.layers[layer];
    const KvView view = context_.sequence().cache().view(context_.sequence().id(), layer);
    AttentionParams params;
    params.scale = c.attn_scale;
    std::vector<float> out(q.rows * q.cols);
    kept[layer].assign(c.n_kv_head, 0);
    for (const size_t block : {192, 256}) {
      std::vector<float> weights(c.n_kv_head * view.n_tokens);
      AttentionSpan span{view, block, 64, block};
      span.key_weights = {weights.data(), c.n_kv_head, view.n_tokens};
      ref::attention(q, c.n_head, {&span, 1}, params, {out.data(), q.rows, q.cols});
      for (size_t h = 0; h < c.n_kv_head; ++h) {
        double all = 0, some = 0;
        for (size_t j = 0; j < view.n_tokens; ++j) {
          const double w = weights[h * view.n_tokens + j];
          all += w;
          if (j < pattern_.sinks || j + (pattern_.budget - pattern_.sinks) >= block + 1) some += w;
        }
        kept[layer][h] += some / all / 2;
      }
    }
  }

 private:
  Context& context_;
  const ModelConfig& config_;
  const PromptPattern pattern_;

 public:
  std::vector<std::vector<double>> kept;
};

TEST_F(PromptFits, ChooseForEachHeadWhatKeepsMost) {
  const PromptFit fit = fit_prompts(*engine_, ids_, {.budget = 128, .least_recall = 0});
  EXPECT_EQ(fit.n_blocks, 2u) << "of 320 tokens the last two blocks";
  Context context(*engine_, {.mode = "dense"});
  AShapeShare share(context, engine_->config(), candidate_patterns(128)[0]);
  context.set_observer(&share);
  context.append(ids_);
  size_t n_a_shape = 0, n_others = 0;
  for (size_t l = 0; l < fit.heads.size(); ++l)
    for (size_t h = 0; h < fit.heads[l].size(); ++h) {
      const FittedPattern& head = fit.heads[l][h];
      EXPECT_LE(head.recall, 1 + 1e-6);
      if (head.pattern.kind == PatternKind::kAShape) {
        EXPECT_NEAR(head.recall, share.kept[l][h], 1e-4) << l << " " << h;
        ++n_a_shape;
      } else {
        EXPECT_GE(head.recall, share.kept[l][h] - 1e-4) << l << " " << h;
        ++n_others;
      }
    }
  EXPECT_GT(n_a_shape + n_others, 50u);
  EXPECT_GT(n_others, 0u);
}

TEST_F(PromptFits, LeaveHeadsDenseOfWhichNoPatternKeepsEnough) {
  const PromptFit all = fit_prompts(*engine_, ids_, {.budget = 128, .least_recall = 1});
  size_t n_dense = 0, n = 0;
  for (const auto& layer : all.heads)
    for (const FittedPattern& head : layer) ++n, n_dense += head.pattern.kind == PatternKind::kDense;
  EXPECT_GT(n_dense, n / 2);
  EXPECT_EQ(all.patterns()->heads().size(), engine_->config().n_layer);
}

TEST_F(PromptFits, WhatCannotBeIsSaid) {
  const auto refusal = [&](const PromptFitOptions& options, size_t n = 320) {
    return message_of(ErrorKind::kUsage, [&] { fit_prompts(*engine_, std::span(ids_).first(n), options); });
  };
  EXPECT_NE(refusal({.budget = 600}).find("expected at least 728"), std::string::npos);
  EXPECT_NE(refusal({.budget = 128}, 200).find("a longer text"), std::string::npos);
  EXPECT_NE(refusal({.budget = 64}).find("expected at least"), std::string::npos);
  EXPECT_NE(refusal({.budget = 128, .least_recall = 2}).find("the least recall is 2"), std::string::npos);
}

TEST_F(PromptFits, SharesOfNeuronsAreFoundWhereAskedFor) {
  const size_t n = engine_->config().n_layer;
  EXPECT_TRUE(fit_prompts(*engine_, ids_, {.budget = 128}).neurons.empty());
  const PromptFit least = fit_prompts(*engine_, ids_, {.budget = 128, .neuron_recall = 1e-9});
  EXPECT_EQ(least.neurons, std::vector<double>(n, 0.125)) << "the smallest share that is tried";
  const PromptFit most = fit_prompts(*engine_, ids_, {.budget = 128, .neuron_recall = 0.99});
  ASSERT_EQ(most.neurons.size(), n);
  for (const double share : most.neurons) {
    EXPECT_GT(share, 0.125);
    EXPECT_LE(share, 1);
  }
  EXPECT_EQ(most.patterns()->neurons(), most.neurons);
}

}  // namespace
}  // namespace hunch
