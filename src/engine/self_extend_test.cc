// Texts of a model whose far keys stand at other positions than its near ones, whatever becomes of them.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/drafting.h"
#include "engine/test_texts.h"
#include "io/test_errors.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

Engine engine_of(const char* model, const char* rope) {
  EngineOptions options{.n_threads = 2};
  if (rope) options.rope = rope_choice_from(rope);
  return load_engine(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / model, options);
}

ContextOptions sized(size_t n_ctx, KvType type = DType::kF32) {
  ContextOptions options;
  options.n_ctx = n_ctx;
  options.kv_type = type;
  return options;
}

// Logits of all of these, read at once.
std::vector<float> logits_of(const Engine& engine, std::span<const int32_t> ids) {
  Context context(engine, sized(ids.size()));
  std::vector<float> all;
  context.append_all(ids, [&](size_t, MatView<const float> rows) {
    for (size_t t = 0; t < rows.rows; ++t) all.insert(all.end(), rows.row(t).begin(), rows.row(t).end());
  });
  return all;
}

TEST(SelfExtend, WithinItsWindowAndInGroupsOfOneItIsTheModel) {
  const Engine plain = engine_of("tiny_llama", nullptr);
  const std::vector<int32_t> ids = some_ids(plain, 48, 1);
  const std::vector<float> want = logits_of(plain, ids);
  const auto off = [&](const char* rope) { return most_off(logits_of(engine_of("tiny_llama", rope), ids), want); };
  EXPECT_LT(off("self-extend:4,window=48"), 1e-4f);
  EXPECT_EQ(off("self-extend:1,window=8"), 0.0f);
  EXPECT_GT(off("self-extend:4,window=8"), 0.01f);
  // What lies within the window is as it was.
  const std::vector<float> got = logits_of(engine_of("tiny_llama", "self-extend:4,window=20"), ids);
  const size_t n_vocab = plain.config().n_vocab;
  EXPECT_LT(most_off(std::span(got).first(20 * n_vocab), want), 1e-4f);
  EXPECT_GT(most_off(std::span(got).subspan(30 * n_vocab), std::span(want).subspan(30 * n_vocab)), 0.01f);
}

TEST(SelfExtend, AWindowOfHalfTheContextUnlessSaid) {
  const Engine engine = engine_of("tiny_llama", "self-extend:4");
  EXPECT_EQ(engine.config().layers[0].extend.window, engine.config().n_ctx_train / 2);
}

struct Kind {
  const char* model;
  KvType type = DType::kF32;
  float tolerance = 1e-3f;
};
class SelfExtendTexts : public ::testing::TestWithParam<Kind> {};

TEST_P(SelfExtendTexts, AreTheSameReadAnew) {
  const Engine engine = engine_of(GetParam().model, "self-extend:4,window=10");
  const ContextOptions options = sized(400, GetParam().type);
  compare_with_anew(engine, options, GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, SelfExtendTexts,
                         ::testing::Values(Kind{"tiny_llama"}, Kind{"tiny_llama", DType::kF16, 0.1f},
                                           Kind{"tiny_llama", KvType::rotated_of(DType::kF32)}, Kind{"tiny_gemma3"},
                                           Kind{"tiny_gptoss"}, Kind{"tiny_qwen3next"}, Kind{"tiny_gptj"}),
                         [](const auto& info) { return fmt::format("{}_{}", info.param.model, info.index); });

TEST(SelfExtend, DraftsChangeNothing) {
  const Engine engine = engine_of("tiny_llama", "self-extend:4,window=10");
  std::vector<int32_t> prompt = some_ids(engine, 12, 5);
  for (size_t i = 0; i < 30; ++i) prompt.push_back(prompt[i]);
  GenerateOptions options;
  options.n_tokens = 50;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  Context plain(engine, sized(120)), drafted(engine, sized(120));
  const std::vector<int32_t> want = generate(plain, prompt, options).ids;
  Drafting drafting(engine, drafted.sequence(), {.ngram = true, .n_tokens = 4});
  options.speculation = &drafting.speculation();
  EXPECT_EQ(generate(drafted, prompt, options).ids, want);
  EXPECT_GT(drafting.speculation().stats()[0].n_accepted, 0u);
}

TEST(SelfExtend, WhatDoesNotGoWithItIsRefused) {
  const auto refused = [](const char* model, const auto& with) {
    return message_of(ErrorKind::kUnsupported, [&] { with(engine_of(model, "self-extend:4,window=10")); });
  };
  EXPECT_NE(refused("tiny_llama",
                    [](const Engine& engine) {
                      ContextOptions options = sized(64);
                      options.keys = key_policy_from("h2o:16");
                      Context context(engine, options);
                    })
                .find("h2o"),
            std::string::npos);
  EXPECT_NE(refused("tiny_deepseek3", [](const Engine&) {}).find("latent"), std::string::npos);
  EXPECT_NE(refused("tiny_bloom", [](const Engine&) {}).find("no RoPE"), std::string::npos);
  EXPECT_NE(refused("tiny_mixtral", [](const Engine&) {}).find("window"), std::string::npos);
}

}  // namespace
}  // namespace hunch
