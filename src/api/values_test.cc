// Activations, likelihoods, comparisons and quantised copies through the public headers, against each other.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "api/impl.h"
#include "base/half.h"
#include "hunch/activations.h"
#include "hunch/compare.h"
#include "hunch/evaluate.h"
#include "hunch/generate.h"
#include "hunch/quantize.h"
#include "io/test_bytes.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const char* const kDemo = HUNCH_SOURCE_DIR "/models/demo/hunch-demo.gguf";

class Values : public testing::Test {
 protected:
  LanguageModel model{kDemo, {.n_threads = 1, .n_ctx = 256, .kv = "f32"}};
  const std::vector<int32_t> ids = model.tokenize("Once upon a time there was a rabbit.");

  static std::string text() {
    std::ifstream file(HUNCH_SOURCE_DIR "/models/demo/eval.txt");
    std::stringstream all;
    all << file.rdbuf();
    return all.str().substr(0, 1500);
  }
  template <class Call>
  static ErrorKind kind_of(const Call& call) {
    try {
      call();
    } catch (const Error& e) {
      return e.kind();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorKind::kIo;
  }
};

TEST_F(Values, ActivationsHaveARowForEachTokenAndTheZerosOfRelu) {
  const Activations seen = activations(model, ids);
  EXPECT_EQ(seen.n_tokens, ids.size());
  ASSERT_EQ(seen.layers.size(), model.info().n_layer);
  for (const LayerActivations& layer : seen.layers) {
    EXPECT_EQ(layer.n_ff, model.info().n_ff);
    ASSERT_EQ(layer.activations.size(), ids.size() * layer.n_ff);
    ASSERT_EQ(layer.neurons.size(), layer.activations.size());
    EXPECT_EQ(layer.head_norms.size(), ids.size() * layer.n_head);
    EXPECT_EQ(layer.head_groups.size(), ids.size() * layer.n_kv_head);
    EXPECT_TRUE(layer.router.empty());
    size_t n_positive = 0;
    for (const uint16_t half : layer.activations) {
      const float value = to_f32(f16{half});
      ASSERT_GE(value, 0.0f);
      n_positive += value > 0;
    }
    const double share = double(n_positive) / double(layer.activations.size());
    EXPECT_GT(share, 0.01);
    EXPECT_LT(share, 0.5);
  }
}

TEST_F(Values, WhatAPlanLeftOutIsMarked) {
  ActivationOptions sparse;
  sparse.plan = PlanChoice{.name = "sparse", .density = 0.05};
  double read = 0, all = 0;
  for (const LayerActivations& layer : activations(model, ids, sparse).layers)
    for (const uint8_t neuron : layer.neurons) read += neuron, all += 1;
  EXPECT_GT(read / all, 0.005);
  EXPECT_LT(read / all, 0.07) << "of those chosen, what is not zero";
  sparse.plan = PlanChoice{.name = "dense"};
  for (const LayerActivations& layer : activations(model, ids, sparse).layers)
    EXPECT_EQ(std::ranges::count(layer.neurons, 1), ptrdiff_t(layer.neurons.size()));
  EXPECT_EQ(kind_of([&] { activations(model, {}); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { activations(model, std::vector<int32_t>{-1}); }), ErrorKind::kUsage);
}

TEST_F(Values, ALikelihoodIsTheSumOfLogProbabilities) {
  const Logits all = logits(model, ids);
  double expected = 0;
  for (size_t i = 3; i + 1 < ids.size(); ++i) {
    double sum = 0;
    for (const float x : all.row(i)) sum += std::exp(double(x));
    expected += double(all.row(i)[size_t(ids[i + 1])]) - std::log(sum);
  }
  LikelihoodScorer scorer(model);
  const std::span<const int32_t> text(ids);
  EXPECT_NEAR(scorer.score(text.first(4), text.subspan(4)).log_likelihood, expected, 1e-3);
  GenerationOptions greedy;
  greedy.n_tokens = 4;
  greedy.temperature = 0;
  EXPECT_TRUE(scorer.score(text, generate(model, ids, greedy).ids).greedy);
  EXPECT_FALSE(scorer.score("Once upon a time", " zebra zebra").greedy);
  EXPECT_EQ(scorer.n_ctx(), 256u);
  EXPECT_EQ(kind_of([&] { scorer.score("Once", ""); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { scorer.score(text, std::span<const int32_t>()); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { scorer.score(std::span<const int32_t>(), text); }), ErrorKind::kUsage);
  const std::vector<int32_t> outside = {int32_t(model.info().n_vocab)};
  EXPECT_EQ(kind_of([&] { scorer.score(text, outside); }), ErrorKind::kUsage) << "which is predicted and never read";
}

TEST_F(Values, ModesAreComparedAsTheyAreMeasuredAlone) {
  std::vector<Mode> modes(4);
  modes[0].plan.name = "dense";
  modes[2].plan = {.name = "sparse", .density = 0.3};
  modes[3].oracle_density = 0.2;
  modes[3].name = "oracle";
  ComparisonOptions quick;
  quick.n_ctx = 128;
  quick.n_decode = 4;
  quick.n_repeats = 1;
  size_t n_told = 0;
  quick.on_progress = [&](std::string_view, uint64_t, uint64_t) { ++n_told; };
  const std::vector<ModeReport> rows = compare(model, text(), modes, quick);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_GT(n_told, 4u);
  TextPerplexityOptions alone;
  alone.n_ctx = 128;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(rows[i].name, modes[i].plan.name);
    alone.plan = modes[i].plan;
    EXPECT_NEAR(rows[i].perplexity, perplexity(model, text(), alone).perplexity, 1e-3 * rows[i].perplexity);
    EXPECT_GT(rows[i].tokens_per_s, 0);
  }
  EXPECT_EQ(rows[0].kl, 0);
  EXPECT_EQ(rows[0].density, 1);
  EXPECT_LT(rows[1].kl, 1e-4);
  EXPECT_GT(rows[2].kl, 1e-4);
  EXPECT_NEAR(rows[2].density, 0.3, 0.1);
  EXPECT_LT(rows[2].bytes_per_token, rows[0].bytes_per_token);
  EXPECT_EQ(rows[3].name, "oracle");
  EXPECT_EQ(rows[3].tokens_per_s, 0);
}

TEST_F(Values, WrongModesAreRefused) {
  const auto kind = [&](Mode mode, size_t n_repeats = 1) {
    ComparisonOptions options;
    options.n_repeats = n_repeats;
    return kind_of([&] { compare(model, text(), {&mode, 1}, options); });
  };
  EXPECT_EQ(kind_of([&] { compare(model, text(), {}); }), ErrorKind::kUsage);
  EXPECT_EQ(kind({.plan = {.name = "thick"}}), ErrorKind::kUsage);
  EXPECT_EQ(kind({.kv_policy = "magic:12"}), ErrorKind::kUsage);
  EXPECT_EQ(kind({.kv = "f12"}), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([] { LanguageModel(kDemo, {.precision = "f12"}); }), ErrorKind::kUsage);
  EXPECT_EQ(kind({.oracle_density = 0}), ErrorKind::kUsage);
  EXPECT_EQ(kind({.plan = {.name = "sparse"}, .oracle_density = 0.5}), ErrorKind::kUsage);
  EXPECT_EQ(kind({.adapters = {{.path = "/nonexistent"}}}), ErrorKind::kNotFound);
  EXPECT_EQ(kind({}, 0), ErrorKind::kUsage);
}

// Of a model's own threads; whoever shares another's has that one's.
TEST_F(Values, ModelsAreComputedInThePrecisionThatWasAskedFor) {
  const auto precision_of = [](const LanguageModel& m) { return impl_of(m)->engine.compute->precision; };
  LanguageModel rounding(kDemo, {.n_threads = 1, .precision = "bf16"});
  EXPECT_EQ(precision_of(rounding), Precision::kBf16);
  EXPECT_EQ(precision_of(model), Precision::kF32);
  LanguageModel sharing(kDemo, {.precision = "bf16", .threads_of = &model});
  EXPECT_EQ(precision_of(sharing), Precision::kF32);
}

TEST_F(Values, AQuantisedCopyIsSmallerAndItsPriceIsMeasured) {
  const TempDir dir("api_quantize");
  const fs::path out = dir.path / "q4.gguf";
  const Quantized made = quantize(kDemo, out, {.type = "q4_0", .n_threads = 1});
  EXPECT_EQ(made.path, out);
  EXPECT_EQ(made.bytes, fs::file_size(out));
  EXPECT_NEAR(made.bits_per_weight, 4.9, 0.3);
  LanguageModel small(out, {.n_threads = 1});
  EXPECT_EQ(small.info().dtype, "q4_0");
  std::vector<Mode> modes(2);
  modes[1].name = "q4";
  modes[1].model = &small;
  const std::vector<ModeReport> rows = compare(model, text(), modes, {.n_ctx = 128, .n_decode = 4, .n_repeats = 1});
  EXPECT_GT(rows[1].kl, 0.001);
  EXPECT_NEAR(rows[1].change, rows[1].perplexity / rows[0].perplexity - 1, 1e-9);
  EXPECT_GT(rows[1].change_error, 0);
  EXPECT_EQ(kind_of([&] { quantize(kDemo, out); }), ErrorKind::kUsage) << "it is there";
  EXPECT_EQ(kind_of([&] { quantize(out, out, {.replace = true}); }), ErrorKind::kUsage) << "it is what is read";
  EXPECT_EQ(kind_of([&] { quantize(out, dir.path / "b", {.type = "q8_0"}); }), ErrorKind::kUnsupported) << "twice";
  EXPECT_EQ(kind_of([&] { quantize(kDemo, dir.path / "b", {.type = "q9"}); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { quantize(kDemo, dir.path / "b", {.layout = "tall"}); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { quantize("/nonexistent", dir.path / "b"); }), ErrorKind::kNotFound);
  Cancel cancel;
  cancel.request();
  EXPECT_EQ(kind_of([&] { quantize(kDemo, dir.path / "b", {.cancel = &cancel}); }), ErrorKind::kInterrupted);
  EXPECT_FALSE(fs::exists(dir.path / "b"));
}

}  // namespace
}  // namespace hunch
