// Texts of a Transformer-XL, whose memory are the keys and values of earlier tokens: whatever becomes of them.
#include <gtest/gtest.h>

#include "base/test_paths.h"
#include "engine/drafting.h"
#include "engine/test_texts.h"
#include "io/test_errors.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

Engine engine_of(const char* model) {
  return load_engine(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / model, {.n_threads = 2});
}

ContextOptions sized(size_t n_ctx, KvType type = DType::kF32) {
  ContextOptions options;
  options.n_ctx = n_ctx;
  options.kv_type = type;
  return options;
}

class TransfoXl : public ::testing::TestWithParam<const char*> {};

TEST_P(TransfoXl, TextsAreTheSameReadAnew) {
  const Engine engine = engine_of(GetParam());
  compare_with_anew(engine, sized(400), 1e-4f);
  compare_with_anew(engine, sized(400, KvType::rotated_of(DType::kF32)), 1e-4f);
}

// What lies before the memory, of all layers, does not matter any more.
TEST_P(TransfoXl, ForgetsWhatIsBeforeItsMemory) {
  const Engine engine = engine_of(GetParam());
  const RelativePositions& r = engine.config().layers[0].relative;
  const size_t reach = engine.config().n_layer * (r.memory + r.segment);
  std::vector<int32_t> ids = some_ids(engine, 120, 1);
  const auto last = [&] {
    Context context(engine, sized(130));
    const std::span<const float> logits = context.append(ids);
    return std::vector<float>(logits.begin(), logits.end());
  };
  const std::vector<float> want = last();
  ids[119 - reach] = (ids[119 - reach] + 1) % int32_t(engine.config().n_vocab);
  EXPECT_LT(most_off(last(), want), 1e-6f);
  ids[119 - r.memory / 2] = (ids[119 - r.memory / 2] + 1) % int32_t(engine.config().n_vocab);
  EXPECT_GT(most_off(last(), want), 1e-3f);
}

TEST_P(TransfoXl, LogitsAreLogProbabilities) {
  const Engine engine = engine_of(GetParam());
  Context context(engine, sized(64));
  const std::span<const float> logits = context.append(some_ids(engine, 30, 2));
  double sum = 0;
  for (const float l : logits) sum += std::exp(double(l));
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST_P(TransfoXl, DraftsChangeNothing) {
  const Engine engine = engine_of(GetParam());
  std::vector<int32_t> prompt = some_ids(engine, 12, 5);
  for (size_t i = 0; i < 30; ++i) prompt.push_back(prompt[i]);
  GenerateOptions options;
  options.n_tokens = 50;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  Context plain(engine, sized(120)), drafted(engine, sized(120));
  const std::vector<int32_t> want = generate(plain, prompt, options).ids;
  Drafting drafting(engine, drafted.sequence(), {.ngram = true});
  options.speculation = &drafting.speculation();
  EXPECT_EQ(generate(drafted, prompt, options).ids, want);
  EXPECT_GT(drafting.speculation().stats()[0].n_drafted, 0u);
}

TEST_P(TransfoXl, WhatDoesNotApplyIsRefused) {
  const Engine engine = engine_of(GetParam());
  ContextOptions options = sized(64);
  options.keys = key_policy_from("streaming:16");
  EXPECT_NE(message_of(ErrorKind::kUnsupported, [&] { Context context(engine, options); }).find("streaming"),
            std::string::npos);
  EXPECT_FALSE(can_choose_heads(engine.config()));
}

INSTANTIATE_TEST_SUITE_P(Models, TransfoXl, ::testing::Values("tiny_transfoxl", "tiny_transfoxl_segments"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace hunch
