// Routers of a mixture, and row costs from a file, through the public headers.
#include <gtest/gtest.h>

#include "engine/cost_file.h"
#include "hunch/batch.h"
#include "hunch/evaluate.h"
#include "hunch/hunch.h"
#include "hunch/session.h"
#include "io/test_bytes.h"
#include "io/test_errors.h"

namespace hunch {
namespace {

const char* const kMixture = HUNCH_SOURCE_DIR "/tests/data/golden/qwen2_moe";
const char* const kDense = HUNCH_SOURCE_DIR "/tests/data/golden/tiny_opt";
using Ids = std::vector<int32_t>;
const Ids kIds = {5, 9, 2, 40, 17, 3, 80, 6};

class ApiExperts : public testing::Test {
 protected:
  static GenerationOptions greedy(std::optional<std::string> experts = {}) {
    GenerationOptions options;
    options.n_tokens = 8;
    options.temperature = 0;
    options.ignore_end = true;
    options.experts = std::move(experts);
    return options;
  }
  LanguageModel model{kMixture, {.n_threads = 1, .n_ctx = 64}};
};

TEST_F(ApiExperts, ARouterIsThatOfTheCallOrOfTheModel) {
  const std::vector<float> own = logits(model, kIds).values, one = logits(model, kIds, {.experts = "top:1"}).values;
  EXPECT_NE(own, one);
  LanguageModel other(kMixture, {.n_threads = 1, .n_ctx = 64, .experts = "top:1"});
  EXPECT_EQ(logits(other, kIds).values, one);
  EXPECT_EQ(logits(other, kIds, {.experts = ""}).values, own);
  EXPECT_EQ(generate(other, kIds, greedy()).ids, generate(model, kIds, greedy("top:1")).ids);
  EXPECT_LT(generate(other, kIds, greedy()).density, generate(model, kIds, greedy()).density);
}

TEST_F(ApiExperts, AnswersOfASessionAndOfABatchMayDifferInIt) {
  const Ids own = generate(model, kIds, greedy()).ids, one = generate(model, kIds, greedy("top:1")).ids;
  Session session(model, {.experts = "top:1"});
  EXPECT_EQ(session.generate(kIds, greedy()).ids, one);
  session.truncate(0);
  EXPECT_EQ(session.generate(kIds, greedy("")).ids, own);
  GenerationBatch batch(model, {.n_sequences = 2});
  const size_t a = batch.add(kIds, greedy()), b = batch.add(kIds, greedy("top:1"));
  while (batch.step()) {
  }
  EXPECT_EQ(batch.result(a).ids, own);
  EXPECT_EQ(batch.result(b).ids, one);
}

TEST_F(ApiExperts, WhatCannotBeIsSaid) {
  for (const char* wrong : {"best:2", "top:99"})
    EXPECT_NE(message_of(ErrorKind::kUsage, [&] { logits(model, kIds, {.experts = wrong}); }).find("(experts)"),
              std::string::npos);
  message_of(ErrorKind::kUsage, [&] { LanguageModel(kDense, {.n_threads = 1, .experts = "balanced"}); });
}

TEST_F(ApiExperts, GetsThroughC) {
  hunch_load_options load;
  hunch_load_options_init(&load);
  load.n_threads = 1;
  load.experts = "top:1";
  hunch_model* c = hunch_load(kMixture, &load);
  ASSERT_TRUE(c) << hunch_last_error();
  hunch_evaluation_options options;
  hunch_evaluation_options_init(&options);
  std::vector<float> values(kIds.size() * hunch_n_vocab(c));
  ASSERT_EQ(hunch_logits(c, kIds.data(), kIds.size(), &options, values.data()), 0) << hunch_last_error();
  EXPECT_EQ(values, logits(model, kIds, {.experts = "top:1"}).values);
  options.experts = "";
  ASSERT_EQ(hunch_logits(c, kIds.data(), kIds.size(), &options, values.data()), 0) << hunch_last_error();
  EXPECT_EQ(values, logits(model, kIds).values);
  // A caller who was compiled before the field was there.
  options.experts = "nonsense";
  options.size = offsetof(hunch_evaluation_options, experts);
  EXPECT_EQ(hunch_logits(c, kIds.data(), kIds.size(), &options, values.data()), 0) << hunch_last_error();
  hunch_free(c);
}

TEST(ApiCosts, ArePinnedFromAFile) {
  const TempDir dir("api_costs");
  write_costs({}, dir.path / "costs.json");
  dir.write("broken.json", "{");
  LanguageModel(kDense, {.n_threads = 1, .costs = dir.path / "costs.json"});
  EXPECT_NE(message_of(ErrorKind::kFormat,
                       [&] { LanguageModel(kDense, {.n_threads = 1, .costs = dir.path / "broken.json"}); })
                .find("broken.json"),
            std::string::npos);
  message_of(ErrorKind::kNotFound, [&] { LanguageModel(kDense, {.n_threads = 1, .costs = dir.path / "none"}); });
}

}  // namespace
}  // namespace hunch
