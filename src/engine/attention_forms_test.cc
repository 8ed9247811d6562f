// Texts under forms of attention that remember something of their keys, whatever becomes of the texts: against the same
// forms with nothing remembered.
#include <gtest/gtest.h>

#include "base/test_paths.h"
#include "engine/answer.h"
#include "engine/test_forgetful.h"
#include "engine/test_texts.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

Engine engine_of(const char* model) {
  return load_engine(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / model, {.n_threads = 2});
}

struct Kind {
  const char *policy, *model = "tiny_llama";
  KvType type = DType::kF32;
};
class FormTexts : public ::testing::TestWithParam<Kind> {};

TEST_P(FormTexts, RememberNothingThatIsNoLongerSo) {
  const Kind& kind = GetParam();
  const Engine engine = engine_of(kind.model);
  const auto keys = key_policy_from(kind.policy);
  // Some remember blocks of 64 tokens: their texts are longer, and go back beyond one.
  const std::string_view name = kind.policy;
  const bool in_blocks = name.starts_with("clusters") || name.starts_with("linear") || name.starts_with("performer");
  const size_t n_ctx = in_blocks ? 270 : 170;
  World got(engine, n_ctx, keys, kind.type), want(engine, n_ctx, std::make_shared<Forgetful>(keys), kind.type);
  compare_texts(engine, got, want, n_ctx, 1e-5f, in_blocks ? 90 : 40);  // exponentials of sums of f32, in another order
}

INSTANTIATE_TEST_SUITE_P(Forms, FormTexts,
                         ::testing::Values(Kind{"longformer:16"}, Kind{"bigbird:24,block=4"}, Kind{"strided:8"},
                                           Kind{"lsh:20,recent=6,buckets=8,rounds=4"}, Kind{"clusters:84,recent=8,k=5"},
                                           Kind{"linear:8", "tiny_llama"}, Kind{"performer:16,recent=8"},
                                           Kind{"lsh:20,recent=6,buckets=8", "tiny_bloom"},
                                           Kind{"lsh:20,recent=6,buckets=8", "tiny_gptoss"},
                                           Kind{"clusters:84,recent=8,k=5", "tiny_llama", DType::kF16},
                                           Kind{"clusters:84,recent=8,k=5,prompts=0", "tiny_gemma3"},
                                           Kind{"lsh:20,recent=6,buckets=8", "tiny_deepseek3"},
                                           Kind{"performer:16,recent=8", "tiny_llama", KvType::rotated_of(DType::kF32)},
                                           Kind{"performer:16,recent=8", "tiny_qwen3next"},
                                           Kind{"linear:8,full=1", "tiny_qwen3"}),
                         [](const auto& info) { return fmt::format("{}_{}", info.param.model, info.index); });

// What a prompt gives does not depend on whether it is read at once or token by token; with prompts=0 it is the
// model's.
TEST(AttentionForms, ArePromptsToo) {
  const Engine engine = engine_of("tiny_llama");
  const std::vector<int32_t> ids = some_ids(engine, 120, 1);
  ContextOptions options;
  options.n_ctx = 128;
  const auto logits = [&](const char* policy, bool one_by_one) {
    options.keys = policy ? key_policy_from(policy) : nullptr;
    Context context(engine, options);
    std::span<const float> last;
    if (!one_by_one) {
      last = context.append(ids);
    } else {
      for (size_t i = 0; i < ids.size(); ++i) last = context.decode(std::span(ids).subspan(i, 1));
    }
    return std::vector<float>(last.begin(), last.end());
  };
  const std::vector<float> whole = logits(nullptr, false);
  for (const char* policy : {"longformer:16", "bigbird:24,block=4", "strided:8", "lsh:20,recent=6",
                             "clusters:84,recent=8,k=5", "linear:8", "performer:16,recent=8"}) {
    SCOPED_TRACE(policy);
    const std::vector<float> at_once = logits(policy, false), one_by_one = logits(policy, true),
                             not_prompts = logits(fmt::format("{},prompts=0", policy).c_str(), false);
    float off = 0, from_whole = 0;
    for (size_t i = 0; i < whole.size(); ++i) {
      off = std::max(off, std::abs(at_once[i] - one_by_one[i]));
      from_whole = std::max(from_whole, std::abs(at_once[i] - whole[i]));
      ASSERT_EQ(not_prompts[i], whole[i]);
    }
    EXPECT_LT(off, 2e-4f);
    EXPECT_GT(from_whole, 1e-3f);
  }
}

TEST(AttentionForms, APauseChangesNothing) {
  const Engine engine = engine_of("tiny_llama");
  for (const char* policy : {"longformer:16", "lsh:20,recent=6", "clusters:84,recent=8,k=5", "performer:16,recent=8"}) {
    SCOPED_TRACE(policy);
    ContextOptions options;
    options.n_ctx = 200;
    options.keys = key_policy_from(policy);
    const auto answer = [&](size_t pause_at) {
      Batch batch(engine, {.n_tokens = 1000, .n_sequences = 2});
      std::vector<std::unique_ptr<Sequence>> texts;
      std::vector<std::shared_ptr<Answer>> answers;
      GenerateOptions greedy;
      greedy.n_tokens = 60;
      greedy.ignore_end = true;
      greedy.sampler.temperature = 0;
      for (uint32_t i = 0; i < 2; ++i) {
        texts.push_back(batch.new_sequence(sequence_options(engine, options)));
        answers.push_back(batch.admit(*texts[i], some_ids(engine, 70 + 9 * i, i), greedy));
      }
      for (size_t step = 0; batch.step(); ++step)
        if (step == pause_at) {
          batch.remove(*answers[0]);
          answers[0]->begin_anew();
          batch.resume(answers[0]);
        }
      return std::pair(answers[0]->generated().ids, answers[1]->generated().ids);
    };
    EXPECT_EQ(answer(20), answer(SIZE_MAX));
  }
}

TEST(AttentionForms, SumsDoNotGoWithScoresThatDependOnMore) {
  for (const char* model : {"tiny_bloom", "tiny_gptoss"}) {
    const Engine engine = engine_of(model);
    ContextOptions options;
    options.n_ctx = 120;
    options.keys = key_policy_from("linear:8");
    Context context(engine, options);
    EXPECT_THROW(context.append(some_ids(engine, 100, 1)), Error);
  }
}

}  // namespace
}  // namespace hunch
