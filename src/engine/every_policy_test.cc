// Every key policy, whatever becomes of its texts: policies that drop tokens against a cache that drops none and hides
// them, those that read a part against themselves with nothing remembered. The list is that of the command line.
#include <gtest/gtest.h>

#include <random>

#include "base/test_paths.h"
#include "engine/answer.h"
#include "engine/test_forgetful.h"
#include "engine/test_hiding.h"
#include "engine/test_policies.h"
#include "engine/test_texts.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

std::string name_of_test(const std::string& policy) {
  std::string name = policy;
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(c); }, '_');
  return name;
}

Engine engine_of(const char* model) {
  return load_engine(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / model, {.n_threads = 2});
}

// A text and what was done to it since it was empty, so that it can be done again.
struct Text {
  struct Part {
    std::vector<int32_t> ids;
    Phase phase;
  };
  std::unique_ptr<Sequence> sequence;
  std::vector<Part> parts = {};
};

// Texts of one plan.
class Texts {
 public:
  Texts(const Engine& engine, std::shared_ptr<const KeySelector> keys, KvType type)
      : batch_(engine, {3000, type, 4}), own_(sequence_options(engine, {.n_ctx = 200, .keys = std::move(keys)})) {
    texts.push_back({batch_.new_sequence(own_)});
  }
  std::vector<float> compute(size_t text, std::span<const int32_t> ids, Phase phase) {
    texts[text].parts.push_back({{ids.begin(), ids.end()}, phase});
    return compute(*texts[text].sequence, ids, phase);
  }
  // The logits that the text's last token has if all is done again.
  std::vector<float> anew(size_t text) {
    const auto fresh = batch_.new_sequence(own_);
    std::vector<float> logits;
    for (const Text::Part& part : texts[text].parts) logits = compute(*fresh, part.ids, part.phase);
    return logits;
  }
  void fork(size_t text) {
    std::unique_ptr<Sequence> branch = texts[text].sequence->fork(texts[text].sequence->n_tokens());
    texts.push_back({std::move(branch), texts[text].parts});
  }
  void clear(size_t text) {
    texts[text].sequence->truncate(0);
    texts[text].parts.clear();
  }
  std::vector<Text> texts;

 private:
  std::vector<float> compute(Sequence& sequence, std::span<const int32_t> ids, Phase phase) {
    const SequenceRun run{&sequence, ids, phase, 1, phase != Phase::kPrompt};
    const std::span<const float> row = batch_.compute({&run, 1}).row(0);
    return {row.begin(), row.end()};
  }
  Batch batch_;
  SequenceOptions own_;
};

// A prompt in parts, some of them taken back before its end, tokens one by one, texts that branch, begin anew, go back
// to where something was dropped (and so to nothing), or are read once more, as after a pause.
void compare_dropping(const Engine& engine, const std::shared_ptr<const KeySelector>& keys, float tolerance) {
  Texts got(engine, keys, DType::kF32), want(engine, std::make_shared<Hiding>(keys), DType::kF32),
      whole(engine, nullptr, DType::kF32);
  std::mt19937 rng(11);
  float most_missed = 0;
  size_t n_dropped = 0;
  for (size_t step = 0; step < 150; ++step) {
    const size_t text = rng() % got.texts.size(), kind = rng() % 10;
    Sequence& own = *got.texts[text].sequence;
    const size_t n = own.n_tokens();
    const bool recurrent = own.cache().is_recurrent();
    SCOPED_TRACE(fmt::format("step {}, kind {}, text {} of {} tokens", step, kind, text, n));
    const auto all = [&](const auto& with) { with(got), with(want), with(whole); };
    const auto compute = [&](std::span<const int32_t> ids, Phase phase) {
      const std::vector<float> of_got = got.compute(text, ids, phase), of_want = want.compute(text, ids, phase),
                               of_whole = whole.compute(text, ids, phase);
      ASSERT_LT(most_off(of_got, of_want), tolerance);
      most_missed = std::max(most_missed, most_off(of_got, of_whole));
    };
    if (n == 0) {  // a prompt, of which a part is read, taken back and read
      const std::vector<int32_t> ids = some_ids(engine, 30 + rng() % 40, uint32_t(step));
      compute(std::span(ids).first(20), Phase::kPrompt);
      compute(std::span(ids).subspan(20), Phase::kPrompt);
      if (::testing::Test::HasFatalFailure() || recurrent || kind < 4) continue;
      ASSERT_EQ(own.cache().n_fixed(own.id()), 0u) << "nothing goes before the prompt has ended";
      all([&](Texts& t) {
        t.texts[text].sequence->truncate(ids.size() - 3);
        t.texts[text].parts.back().ids.resize(t.texts[text].parts.back().ids.size() - 3);
      });
      compute(std::span(ids).last(3), Phase::kPrompt);
    } else if (n > 150 || kind == 0) {
      all([&](Texts& t) { t.clear(text); });
    } else if (kind == 1 && got.texts.size() < 4) {
      all([&](Texts& t) { t.fork(text); });
    } else if (kind == 2 && own.cache().n_fixed(own.id()) > 0) {  // back beyond what was dropped
      EXPECT_EQ(own.go_back(own.cache().n_fixed(own.id()) - 1), 0u);
      all([&](Texts& t) { t.clear(text); });
    } else if (kind == 3) {  // a pause
      const std::vector<int32_t> ids(own.ids().begin(), own.ids().end());
      all([&](Texts& t) { t.clear(text); });
      compute(ids, Phase::kPrompt);
    } else {
      for (size_t i = 0, more = 1 + rng() % 4; i < more && !::testing::Test::HasFatalFailure(); ++i)
        compute(some_ids(engine, 1, uint32_t(100 * step + i)), Phase::kDecode);
      n_dropped += own.n_cached() < own.n_tokens();
    }
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(n_dropped, 20u);
  EXPECT_GT(most_missed, 1e-3f) << "what was dropped is missed";
}

// Prompts that follow on an answer too, of which a mask knows nothing: what a text gives does not depend on what became
// of others, of its branches, or of what it was before.
void compare_with_itself(const Engine& engine, const std::shared_ptr<const KeySelector>& keys, float tolerance) {
  Texts texts(engine, keys, DType::kF32);
  std::mt19937 rng(12);
  size_t n_checked = 0;
  for (size_t step = 0; step < 80; ++step) {
    const size_t text = rng() % texts.texts.size(), kind = rng() % 8;
    Sequence& own = *texts.texts[text].sequence;
    SCOPED_TRACE(fmt::format("step {}, kind {}, text {} of {} tokens", step, kind, text, own.n_tokens()));
    if (own.n_tokens() > 140 || (kind == 0 && step % 4 == 0)) {
      texts.clear(text);
    } else if (kind == 1 && texts.texts.size() < 4) {
      texts.fork(text);
    } else {
      const bool is_prompt = own.n_tokens() == 0 || kind < 4;
      const std::vector<int32_t> ids = some_ids(engine, is_prompt ? 5 + rng() % 35 : 1, uint32_t(step));
      const std::vector<float> got = texts.compute(text, ids, is_prompt ? Phase::kPrompt : Phase::kDecode);
      if (step % 3 != 0) continue;
      ASSERT_LT(most_off(got, texts.anew(text)), tolerance);
      ++n_checked;
    }
  }
  EXPECT_GT(n_checked, 10u);
}

class EveryPolicy : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryPolicy, IsTheSameWhateverBecomesOfItsTexts) {
  const auto keys = key_policy_from(GetParam());
  // Where positions begin anew as tokens go, a mask is the same only where nobody sees positions.
  const Engine engine = engine_of(keys->streams() ? "tiny_nemotronh" : "tiny_llama");
  if (keys->drops()) return compare_dropping(engine, keys, 2e-3f);
  // Some remember blocks of 64 tokens: texts go back beyond one.
  const size_t n_ctx = 270;
  World got(engine, n_ctx, keys, DType::kF32), want(engine, n_ctx, std::make_shared<Forgetful>(keys), DType::kF32);
  compare_texts(engine, got, want, n_ctx, 1e-5f, 90);
}

TEST_P(EveryPolicy, DoesNotDependOnWhatATextWasBefore) {
  const auto keys = key_policy_from(GetParam());
  compare_with_itself(engine_of("tiny_llama"), keys, 1e-4f);
}

// A pause in the middle of an answer: its text is read anew. Where tokens were dropped before, other ones may stay.
TEST_P(EveryPolicy, GoesOnAfterAPause) {
  const auto keys = key_policy_from(GetParam());
  const Engine engine = engine_of("tiny_llama");
  const auto answer = [&](size_t pause_at) {
    Batch batch(engine, {.n_tokens = 1000, .n_sequences = 2});
    std::vector<std::unique_ptr<Sequence>> texts;
    std::vector<std::shared_ptr<Answer>> answers;
    GenerateOptions greedy;
    greedy.n_tokens = 40;
    greedy.ignore_end = true;
    greedy.sampler.temperature = 0;
    for (uint32_t i = 0; i < 2; ++i) {
      texts.push_back(batch.new_sequence(sequence_options(engine, {.n_ctx = 200, .keys = keys})));
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
  const auto never = answer(SIZE_MAX), paused = answer(15);
  EXPECT_EQ(paused.second, never.second) << "the other answer";
  EXPECT_EQ(paused.first.size(), 40u);
  EXPECT_TRUE(std::equal(never.first.begin(), never.first.begin() + 14, paused.first.begin()));
  if (keys->attends_prompts()) EXPECT_EQ(paused.first, never.first);
}

INSTANTIATE_TEST_SUITE_P(Policies, EveryPolicy, ::testing::ValuesIn(all_policies()),
                         [](const auto& info) { return name_of_test(info.param); });

}  // namespace
}  // namespace hunch
