#include "measure/recall_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "io/test_errors.h"
#include "select/key_policies.h"
#include "synth/needle.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// The planted model, once for all tests.
const Engine& needle_engine() {
  static const Engine engine = [] {
    const fs::path path = fs::path(testing::TempDir()) / "recall_needle.gguf";
    Compute compute(1);
    write_needle(path, {.n_vocab = 1024, .n_ctx = 2048}, compute);
    Engine e = load_engine(path, {.n_threads = 1});
    fs::remove(path);
    return e;
  }();
  return engine;
}

RecallSet questions(RecallTask task, std::vector<size_t> lengths, std::vector<double> depths, size_t n_samples) {
  return recall_questions(
      needle_engine().need_tokenizer(),
      {.task = task, .lengths = std::move(lengths), .depths = std::move(depths), .n_samples = n_samples});
}

CompareMode mode(const char* name, const char* policy, KvType type = {}) {
  CompareMode m{name, {}};
  m.context.kv_type = type;
  if (policy) m.context.keys = key_policy_from(policy);
  return m;
}

bool contains(const std::vector<int32_t>& text, const std::vector<int32_t>& part) {
  return std::search(text.begin(), text.end(), part.begin(), part.end()) != text.end();
}

TEST(RecallTasks, TextsHaveTheirLengthAndTheAnswerAtItsDepth) {
  for (const RecallTask task : {RecallTask::kPasskey, RecallTask::kNeedle, RecallTask::kMultiKey}) {
    const RecallSet set = questions(task, {100, 400}, {0, 0.5, 1}, 4);
    ASSERT_EQ(set.questions.size(), 2u * 3 * 4);
    EXPECT_EQ(set.form, RecallForm::kTokens);  // its words are no English ones
    for (const RecallQuestion& q : set.questions) {
      const size_t length = q.length ? 400 : 100, n = q.text.size() + q.question.size() + q.answer.size();
      EXPECT_LE(n, length);
      EXPECT_GT(n + 16, length);  // a sentence
      ASSERT_TRUE(contains(q.text, q.answer));
      std::vector<int32_t> said = {q.question.back()};  // as it was asked for
      said.insert(said.end(), q.answer.begin(), q.answer.end());
      EXPECT_TRUE(contains(q.text, said));
      const auto found = std::search(q.text.begin(), q.text.end(), said.begin(), said.end()) - q.text.begin();
      const double depth = double(found) / double(q.text.size());
      EXPECT_NEAR(depth, 0.5 * double(q.depth), task == RecallTask::kPasskey ? 0.17 : 0.26) << n;
      for (const int32_t id : q.answer)  // nowhere else
        EXPECT_EQ(std::ranges::count(q.text, id), task == RecallTask::kPasskey ? 2 : 1);
    }
  }
}

TEST(RecallTasks, VariablesAndFrequentWordsAreInTheText) {
  for (const RecallQuestion& q : questions(RecallTask::kVariables, {200}, {0.25}, 5).questions) {
    ASSERT_EQ(q.answer.size(), 4u);
    for (size_t i = 1; i < 4; ++i) EXPECT_TRUE(contains(q.text, {q.answer[i], q.answer[i - 1]}));
  }
  const RecallSet set = questions(RecallTask::kAggregation, {400}, {0, 1}, 5);
  EXPECT_EQ(set.questions.size(), 5u);  // no depths
  for (const RecallQuestion& q : set.questions) {
    std::vector<size_t> counts;
    for (const int32_t id : q.answer) counts.push_back(size_t(std::ranges::count(q.text, id)));
    ASSERT_EQ(counts.size(), 3u);
    EXPECT_GT(counts[0], counts[1]);
    EXPECT_GT(counts[1], counts[2]);
    for (const int32_t id : q.text) {
      const bool is_asked = std::ranges::find(q.answer, id) != q.answer.end();
      EXPECT_TRUE(is_asked || size_t(std::ranges::count(q.text, id)) < counts[2]);
    }
  }
}

TEST(RecallTasks, TheSameSeedAsksTheSame) {
  const Tokenizer& tokenizer = needle_engine().need_tokenizer();
  const auto texts = [&](uint64_t seed) {
    std::vector<std::vector<int32_t>> all;
    for (const auto& q :
         recall_questions(tokenizer, {.task = RecallTask::kNeedle, .n_samples = 2, .seed = seed}).questions)
      all.push_back(q.text);
    return all;
  };
  EXPECT_EQ(texts(1), texts(1));
  EXPECT_NE(texts(1), texts(2));
  const auto in_english = recall_questions(tokenizer, {.form = RecallForm::kWords, .lengths = {900}, .n_samples = 1});
  EXPECT_EQ(in_english.form, RecallForm::kWords);
  EXPECT_NE(tokenizer.decode(in_english.questions[0].text).find("The pass key is"), std::string::npos);
}

TEST(RecallTasks, WhatHasNoRoomIsRefused) {
  const auto asked = [](const RecallOptions& options) {
    return message_of(ErrorKind::kUsage, [&] { recall_questions(needle_engine().need_tokenizer(), options); });
  };
  EXPECT_NE(asked({.lengths = {12}}).find("12 tokens"), std::string::npos);
  EXPECT_NE(asked({.depths = {1.5}}).find("1.5"), std::string::npos);
  EXPECT_NE(asked({.task = RecallTask::kMultiKey, .n_keys = 0}).find("0 keys"), std::string::npos);
  EXPECT_NE(asked({.task = RecallTask::kMultiKey, .lengths = {100000}, .n_keys = 5000}).find("too few"),
            std::string::npos);
  EXPECT_NE(asked({.lengths = {}}).find("no questions"), std::string::npos);
}

// The planted model knows where it was said; a cache that forgets does not.
TEST(Recall, ThePlantedModelFindsWhatIsNotDropped) {
  const std::vector<CompareMode> modes = {mode("all", nullptr), mode("streaming", "streaming:64"),
                                          mode("h2o", "h2o:64")};
  for (const RecallTask task : {RecallTask::kPasskey, RecallTask::kNeedle, RecallTask::kMultiKey}) {
    SCOPED_TRACE(int(task));
    const RecallSet set = questions(task, {600}, {0.1, 0.5, 1}, 4);
    const std::vector<RecallRun> runs = run_recall(needle_engine(), modes, set, RecallAsked::kAfter);
    EXPECT_EQ(recall_score(set, runs[0].outcomes).exact.value, 1);
    for (const size_t run : {1, 2}) {
      const auto at_depth = [&](size_t depth) {
        return recall_score(set, runs[run].outcomes, [&](const RecallQuestion& q) { return q.depth == depth; })
            .exact.value;
      };
      EXPECT_EQ(at_depth(0), 0);  // gone
      EXPECT_EQ(at_depth(1), 0);
      EXPECT_EQ(at_depth(2), 1);
      EXPECT_LT(runs[run].kv_bytes_per_token, runs[0].kv_bytes_per_token / 4);
    }
  }
}

// What is said twice was looked at once: of as many tokens, the policy that learns from attention keeps the right ones.
TEST(Recall, HeavyHittersAreInBetween) {
  const std::vector<CompareMode> modes = {mode("all", nullptr), mode("streaming", "streaming:320"),
                                          mode("h2o", "h2o:320")};
  const RecallSet set = questions(RecallTask::kPasskey, {400}, {0.05, 0.1, 0.9}, 4);
  const std::vector<RecallRun> runs = run_recall(needle_engine(), modes, set, RecallAsked::kAfter);
  const auto exact = [&](size_t run) { return recall_score(set, runs[run].outcomes).exact.value; };
  EXPECT_EQ(exact(0), 1);
  EXPECT_NEAR(exact(1), 1.0 / 3, 1e-9);
  EXPECT_GT(exact(2), exact(1));
}

// Asked in the prompt, the text is still there when the question's first answer is found; then it is dropped.
TEST(Recall, AskedInThePromptAPolicySeesTheQuestion) {
  const RecallSet set = questions(RecallTask::kNeedle, {300}, {0.5}, 3);
  const std::vector<CompareMode> modes = {mode("h2o", "h2o:32")};
  const auto tokens = [&](RecallAsked asked) {
    return recall_score(set, run_recall(needle_engine(), modes, set, asked)[0].outcomes).tokens.value;
  };
  EXPECT_EQ(tokens(RecallAsked::kAfter), 0);
  EXPECT_GE(tokens(RecallAsked::kInPrompt), 0.25);  // of four
}

TEST(Recall, SmallerKeysFindIt) {
  std::vector<CompareMode> modes = {mode("f32", nullptr)};
  for (const char* type : {"f16", "q8_0", "q4_0", "q4_0-rot", "kivi-4", "kivi-2"})
    modes.push_back(mode(type, nullptr, *kv_type_from_name(type)));
  const RecallSet set = questions(RecallTask::kNeedle, {500}, {0.5}, 4);
  const std::vector<RecallRun> runs = run_recall(needle_engine(), modes, set, RecallAsked::kAfter);
  for (size_t m = 0; m < runs.size(); ++m) {
    EXPECT_EQ(recall_score(set, runs[m].outcomes).exact.value, 1) << runs[m].name;
    if (m == 0) continue;
    EXPECT_LT(runs[m].kv_bytes_per_token, runs[0].kv_bytes_per_token) << runs[m].name;
  }
}

TEST(Recall, DifferencesArePaired) {
  const std::vector<RecallOutcome> a = {{true, 1, 0}, {true, 1, 0}, {false, 0, 0}},
                                   b = {{true, 1, 0}, {false, 0, 0}, {false, 0, 0}};
  const Mean difference = recall_difference(a, b);
  EXPECT_NEAR(difference.value, 1.0 / 3, 1e-12);
  EXPECT_NEAR(difference.error, 1.0 / 3, 1e-12);
}

}  // namespace
}  // namespace hunch
