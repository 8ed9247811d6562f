// Contexts whose plans drop cached tokens.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/context.h"
#include "engine/generate.h"
#include "engine/speculate.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const char* name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

std::vector<int32_t> some_ids(const Engine& engine, size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(int32_t((i * 37 + i / 11) % engine.config().n_vocab));
  return ids;
}

// OPT has a table of positions, Llama rotates, BLOOM slopes.
TEST(KeyPolicy, ATextOf20000TokensStreamsThroughASmallContext) {
  for (const char* name : {"tiny_opt", "tiny_llama", "tiny_bloom"}) {
    SCOPED_TRACE(name);
    const Engine engine = load_engine(fixture(name), {.n_threads = 1});
    ContextOptions options;
    options.n_ctx = 48;
    options.keys = key_policy_from("streaming:24");
    Context context(engine, options);
    const std::vector<int32_t> ids = some_ids(engine, 20000);
    context.append(std::span(ids).first(19990));
    std::span<const float> logits;
    for (size_t i = 19990; i < ids.size(); ++i) {
      logits = context.decode(std::span(ids).subspan(i, 1));
      EXPECT_EQ(context.sequence().n_cached(), 24u);
    }
    EXPECT_EQ(context.n_tokens(), 20000u);
    for (const float x : logits) ASSERT_TRUE(std::isfinite(x));

    GenerateOptions greedy;
    greedy.n_tokens = 100;  // more than the context
    greedy.sampler.temperature = 0;
    greedy.ignore_end = true;
    EXPECT_EQ(generate(context, std::span(ids).first(1), greedy).stop_reason, StopReason::kLength);
  }
}

TEST(KeyPolicy, EveryTokenIsMeasuredAsDecodingWouldComputeIt) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> ids = some_ids(engine, 40);
  for (const char* policy : {"streaming:8", "h2o:8", "spatten:8,heads=0.5"}) {
    SCOPED_TRACE(policy);
    ContextOptions options;
    options.n_ctx = 64;
    options.keys = key_policy_from(policy);
    Context one_by_one(engine, options);
    options.decodes_all = true;
    Context together(engine, options);
    together.append_all(ids, [&](size_t first, MatView<const float> logits) {
      for (size_t i = 0; i < logits.rows; ++i) {
        const std::span<const float> want = one_by_one.decode(std::span(ids).subspan(first + i, 1));
        EXPECT_TRUE(std::ranges::equal(logits.row(i), want)) << first + i;
      }
    });
  }
}

// Where a prompt's end chooses, the first half of a full context is a prompt.
TEST(KeyPolicy, WhatPromptsChooseIsMeasuredAfterTheirEnd) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> ids = some_ids(engine, 60);
  ContextOptions options;
  options.n_ctx = 64;
  options.keys = key_policy_from("snapkv:12,window=4");
  Context by_hand(engine, options);
  options.decodes_all = true;
  Context measured(engine, options);
  by_hand.append(std::span(ids).first(32));
  measured.append_all(ids, [&](size_t first, MatView<const float> logits) {
    for (size_t i = 0; i < logits.rows; ++i) {
      if (first + i < 32) continue;
      const std::span<const float> want = by_hand.decode(std::span(ids).subspan(first + i, 1));
      EXPECT_TRUE(std::ranges::equal(logits.row(i), want)) << first + i;
    }
  });
  EXPECT_EQ(measured.sequence().n_cached(), 12u + 28) << "what is decoded stays";
}

// A prompt may be read in any parts: only its end chooses.
TEST(KeyPolicy, PromptsChooseTheSameHoweverTheyAreCut) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> ids = some_ids(engine, 50);
  ContextOptions options;
  options.n_ctx = 64;
  options.keys = key_policy_from("adakv:12,window=4");
  Context once(engine, options), parts(engine, options);
  once.append(std::span(ids).first(49));
  for (const auto& [first, n] : {std::pair<size_t, size_t>{0, 20}, {20, 27}, {47, 1}, {48, 1}})
    parts.append(std::span(ids).subspan(first, n));
  EXPECT_EQ(parts.sequence().n_cached(), 49u) << "the prompt may go on";
  const std::span<const float> want = once.decode(std::span(ids).last(1)), got = parts.decode(std::span(ids).last(1));
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4);
  EXPECT_LT(once.sequence().n_cached(), 40u);
  EXPECT_EQ(once.sequence().n_cached(), parts.sequence().n_cached());
}

TEST(KeyPolicy, WhatCannotBeIsSaid) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> ids = some_ids(engine, 30);
  ContextOptions options;
  options.n_ctx = 32;
  options.keys = key_policy_from("h2o:32");
  EXPECT_THROW(Context(engine, options), Error) << "a budget of the whole context";
  options.keys = key_policy_from("h2o:8");
  Context context(engine, options);
  context.append(std::span(ids).first(29));
  context.truncate(25);  // nothing goes before the prompt has ended
  context.append(std::span(ids).subspan(25, 4));
  context.decode(std::span(ids).last(1));
  EXPECT_THROW(context.truncate(20), Error) << "dropped tokens do not come back";
  Speculation drafts;
  GenerateOptions drafting;
  drafting.speculation = &drafts;
  EXPECT_THROW(generate(context, std::span(ids).first(1), drafting), Error) << "drafts";
  EXPECT_THROW(context.append(ids), Error) << "positions end with the context";
  context.truncate(0);
  context.append(ids);
  EXPECT_EQ(context.n_tokens(), 30u);
}

}  // namespace
}  // namespace hunch
