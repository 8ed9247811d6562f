// Prompts whose answers depend on where they are cut: by whoever shares their steps, they are not.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/answer.h"
#include "select/expert_policies.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

struct Case {
  const char *name, *model, *keys = nullptr, *experts = nullptr;
  size_t n_ctx = 800;
  bool joins = false;  // the parts of a prompt
};

const Case kCases[] = {
    {"h2o", "tests/data/golden/tiny_llama", "h2o:32", nullptr, 800, true},
    {"streaming", "tests/data/golden/tiny_llama", "streaming:24", nullptr, 800, true},
    {"streaming_small", "tests/data/golden/tiny_bloom", "streaming:24", nullptr, 61, true},
    {"spatten", "tests/data/golden/tiny_llama", "spatten:32,heads=0.5"},
    {"tova", "tests/data/golden/tiny_llama", "tova:32", nullptr, 800, true},
    {"quest", "tests/data/golden/tiny_llama", "quest:32,page=8,full=0", nullptr, 800, true},
    {"capacity", "tests/data/golden/tiny_mixtral", nullptr, "capacity:0.75"},
    {"choice", "tests/data/golden/qwen2_moe", "h2o:32", "choice:1"},
    {"rope_by_length", "golden/models/llama_rope_dynamic"},
};

std::vector<int32_t> some_ids(const Engine& engine, size_t seed, size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i)
    ids.push_back(int32_t((seed * 7919 + i * i * 31 + i * seed) % engine.config().n_vocab));
  return ids;
}

struct Result {
  std::vector<int32_t> ids;
  std::vector<float> log_probs;
};

class BatchPlans : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const bool is_shared = std::string_view(c_.model).starts_with("golden/");
    const std::optional<fs::path> path = is_shared ? shared_path(c_.model) : fs::path(HUNCH_SOURCE_DIR) / c_.model;
    if (!path) GTEST_SKIP() << "needs the shared " << c_.model;
    engine_ = load_engine(*path, {.n_threads = 1});
    own_.n_ctx = c_.n_ctx;
    if (c_.keys) own_.keys = key_policy_from(c_.keys);
    if (c_.experts) own_.experts = expert_policy_from(c_.experts);
  }

  static GenerateOptions greedy(size_t n_tokens, bool as_alone) {
    GenerateOptions options;
    options.n_tokens = n_tokens;
    options.ignore_end = true;
    options.sampler.temperature = 0;
    options.as_alone = as_alone;
    return options;
  }

  // The answers to these prompts, `dense` of which have nothing but the model, in steps that they share.
  std::vector<Result> answers(const std::vector<std::vector<int32_t>>& prompts, size_t n_dense, size_t step_tokens,
                              bool as_alone) {
    Batch batch(engine_, {.n_tokens = 4096, .n_sequences = prompts.size(), .step_tokens = step_tokens});
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<Result> results(prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
      const bool dense = i < n_dense;
      sequences.push_back(batch.new_sequence(sequence_options(engine_, dense ? ContextOptions{.n_ctx = 900} : own_)));
      batch.admit(*sequences[i], prompts[i], greedy(dense ? 30 : 6, as_alone), [&results, i](const GeneratedToken& t) {
        results[i].ids.push_back(t.id);
        results[i].log_probs.push_back(t.log_prob);
        return true;
      });
      for (size_t k = 0; k < i; ++k) batch.step();
    }
    while (batch.step()) {
    }
    return results;
  }

  void expect_same(const Result& got, const Result& want, float tolerance) {
    EXPECT_EQ(got.ids, want.ids);
    ASSERT_EQ(got.log_probs.size(), want.log_probs.size());
    for (size_t i = 0; i < want.log_probs.size(); ++i) EXPECT_NEAR(got.log_probs[i], want.log_probs[i], tolerance) << i;
  }

  const Case c_ = GetParam();
  Engine engine_;
  ContextOptions own_;
};

TEST_P(BatchPlans, AnAnswerDoesNotDependOnItsNeighbours) {
  const std::vector<int32_t> short_one = some_ids(engine_, 1, 9), long_one = some_ids(engine_, 2, 150);
  const std::vector<int32_t> a = some_ids(engine_, 3, 700), b = some_ids(engine_, 4, 530);
  for (const bool as_alone : {false, true}) {
    SCOPED_TRACE(as_alone ? "as alone" : "to rounding");
    const std::vector<Result> together = answers({short_one, long_one, a, b}, 2, 48, as_alone);
    const float tolerance = as_alone ? 0.0f : 1e-3f;
    expect_same(together[2], answers({a}, 0, 512, as_alone)[0], tolerance);
    expect_same(together[3], answers({b}, 0, 512, as_alone)[0], tolerance);
  }
}

TEST_P(BatchPlans, AContextCutsAtTheSamePlaces) {
  const std::vector<int32_t> ids = some_ids(engine_, 3, 700);
  const Result want = answers({ids}, 0, 48, false)[0];
  Context context(engine_, own_);
  Result got;
  std::span<const float> logits = context.append(ids);
  while (got.ids.size() < want.ids.size()) {
    got.ids.push_back(int32_t(argmax(logits)));
    got.log_probs.push_back(logits[argmax(logits)] - float(log_sum_exp(logits)));
    logits = context.decode(std::span(got.ids).last(1));
  }
  expect_same(got, want, 1e-3f);
}

// A session reads all but the last token, which its answer begins with. What is dropped waits for the end of the
// prompt. It differs where routers or frequencies look at what is read together (docs/experts.md), and where the
// layers' choices depend on each other (docs/key-policies.md).
TEST_P(BatchPlans, APromptInTwoPartsIsOnePromptWhereHeadsChooseKeys) {
  if (!c_.joins) return;
  const std::vector<int32_t> ids = some_ids(engine_, 3, 700);
  const Result want = answers({ids}, 0, 512, false)[0];
  for (const size_t n_first : {1u, 300u, 699u}) {
    Context context(engine_, own_);
    context.append(std::span(ids).first(n_first));
    Result got;
    generate(context, std::span(ids).subspan(n_first), greedy(6, false), [&](const GeneratedToken& t) {
      got.ids.push_back(t.id);
      got.log_probs.push_back(t.log_prob);
      return true;
    });
    expect_same(got, want, 1e-3f);
    EXPECT_LE(context.sequence().n_cached(), own_.keys->most_slots());
  }
}

INSTANTIATE_TEST_SUITE_P(All, BatchPlans, ::testing::ValuesIn(kCases), [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace hunch
