#include "measure/continuation_scorer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/sampler.h"
#include "io/test_errors.h"
#include "kernels/ops.h"
#include "measure/task_runs.h"
#include "model/test_settings.h"
#include "model/test_steps.h"
#include "text/hf_tokenizer.h"

namespace hunch {
namespace {

class Scored : public ::testing::Test {
 protected:
  void SetUp() override {
    TokenizerSpec spec = *tokenizer_spec_from_hf_folder(
        std::filesystem::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "tokenizers" / "bpe", "opt", "");
    spec.pieces.resize(engine_.config().n_vocab);  // the model knows no more
    spec.types.resize(spec.pieces.size());
    std::erase_if(spec.merges, [&](std::string merge) {
      merge.erase(merge.find(' '), 1);
      return std::ranges::find(spec.pieces, merge) == spec.pieces.end();
    });
    engine_.tokenizer.emplace(std::move(spec));
  }

  std::vector<int32_t> ids_of(const std::string& text) { return engine_.tokenizer->encode(text, {false, false}); }

  // The sum over the tokens after the first n_before, in a context of its own.
  ContinuationScore plainly(std::vector<int32_t> ids, size_t n_before) {
    Context context(engine_, {});
    ContinuationScore s;
    context.append_all(std::span(ids).first(ids.size() - 1), [&](size_t first, MatView<const float> logits) {
      for (size_t i = 0; i < logits.rows; ++i) {
        if (first + i + 1 < n_before) continue;
        s.log_likelihood += log_prob(logits.row(i), ids[first + i + 1]);
        s.greedy = s.greedy && int32_t(argmax(logits.row(i))) == ids[first + i + 1];
      }
    });
    return s;
  }

  Engine engine_ = load_engine(golden_fixture("opt_sparse"), {2});
};

// Each after the others, with more and less of them in common: also where a context is the beginning of what the one
// before had as context and continuation.
TEST_F(Scored, AContinuationHasTheScoreThatItHasAlone) {
  ContinuationScorer scorer(engine_, {});
  const std::pair<const char*, const char*> texts[] = {{"one two three four", " five six"},
                                                       {"one two three four", " six seven"},
                                                       {"one two three four five six", " seven"},
                                                       {"one two", " three four five six"},
                                                       {"other", " words"},
                                                       {"one two ", "three"},
                                                       {"one", " two three four"},
                                                       {"", "one two"}};
  for (const auto& [before, continuation] : texts) {
    const ContinuationScore got = scorer.score(before, continuation);
    std::vector<int32_t> ids = ids_of(std::string(before) + continuation);
    std::string context = before;
    while (context.ends_with(' ')) context.pop_back();
    size_t n_before = ids_of(context).size();
    if (n_before == 0) {
      const auto& spec = engine_.tokenizer->spec();
      ids.insert(ids.begin(), spec.bos.value_or(spec.eos.value_or(0)));
      n_before = 1;
    }
    const ContinuationScore want = plainly(ids, n_before);
    EXPECT_NEAR(got.log_likelihood, want.log_likelihood, 1e-4) << before << "|" << continuation;
    EXPECT_EQ(got.greedy, want.greedy);
  }
}

TEST_F(Scored, WhatIsSharedIsComputedOnce) {
  const std::string before = "one two three four five six seven eight nine ten eleven twelve";
  ContinuationScorer scorer(engine_, {});
  scorer.score(before, " one");
  const uint64_t first = scorer.context().stats().n_tokens;
  EXPECT_EQ(first, ids_of(before + " one").size() - 1);
  scorer.score(before, " two");
  EXPECT_EQ(scorer.context().stats().n_tokens - first, ids_of(before + " two").size() - ids_of(before).size());
}

TEST_F(Scored, WhatIsTooLongLosesItsBeginning) {
  ContextOptions small;
  small.n_ctx = 8;
  ContinuationScorer scorer(engine_, small);
  const std::string before = "one two three four five six seven eight", continuation = " nine";
  const std::vector<int32_t> ids = ids_of(before + continuation);
  const size_t n_before = ids_of(before).size(), drop = ids.size() - 9;
  ASSERT_LT(drop, n_before);
  const ContinuationScore want = plainly({ids.begin() + long(drop), ids.end()}, n_before - drop);
  EXPECT_NEAR(scorer.score(before, continuation).log_likelihood, want.log_likelihood, 1e-4);
  EXPECT_NE(message_of(ErrorKind::kLimit, [&] { scorer.score("one", before + before); }).find("(n_ctx)"),
            std::string::npos);
}

TEST_F(Scored, ModesAnswerTheSameQuestionsEachInItsWay) {
  std::vector<TaskItem> items;
  for (const char* word : {" one", " two", " three", " four", " five", " six"})
    items.push_back({{"one two", "one two"}, {word, " seven eight"}, items.size() % 2});
  auto cats = std::make_shared<Plan>(Plan::exact(engine_.config()));
  for (size_t l = 0; l < engine_.config().n_layer; ++l) Setting{"cats", 0.5f}.set(*cats, l);
  std::vector<CompareMode> modes(3);
  modes[0].name = modes[1].name = "dense";
  modes[0].context.mode = modes[1].context.mode = "dense";
  modes[2].name = "cats";
  modes[2].context.plan = cats;
  const std::vector<TaskRun> runs = run_task(engine_, modes, Task::kPiqa, items);
  ASSERT_EQ(runs.size(), 3u);
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(runs[0].outcomes[i].first, runs[1].outcomes[i].first);
    ContinuationScorer scorer(engine_, modes[0].context);
    const double a = scorer.score("one two", items[i].continuations[0]).log_likelihood;
    const double b = scorer.score("one two", items[i].continuations[1]).log_likelihood;
    EXPECT_EQ(runs[0].outcomes[i].first, (b > a) == (items[i].gold == 1));
    const double na = a / double(items[i].continuations[0].size() - 1), nb = b / 11;
    EXPECT_EQ(runs[0].outcomes[i].second, (nb > na) == (items[i].gold == 1));
  }
  EXPECT_EQ(runs[0].density_mlp, 1);
  EXPECT_LT(runs[2].density_mlp, 1);
  EXPECT_GT(runs[2].tokens_per_s, 0);
}

// Answers of up to 256 tokens do not fit beside a question.
TEST_F(Scored, WritersNeedRoom) {
  const std::vector<TaskItem> items = {{{"Question: one\nAnswer:"}, {}, 0, "#### 1"}};
  const std::vector<CompareMode> modes(1);
  EXPECT_NE(message_of(ErrorKind::kUsage, [&] { run_task(engine_, modes, Task::kGsm8k, items); }).find("256"),
            std::string::npos);
}

}  // namespace
}  // namespace hunch
