#include "measure/task_scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hunch {
namespace {

std::vector<TaskOutcome> outcomes_of(const std::string& right) {
  std::vector<TaskOutcome> outcomes;
  for (const char c : right) outcomes.push_back({c == '1', c == '1' || c == '2', -1});
  return outcomes;
}

TEST(TaskScores, SharesHaveTheirStandardErrors) {
  const auto outcomes = outcomes_of("1102");
  const std::vector<TaskItem> items(4);
  const TaskScore score = score_of(Task::kLambada, items, outcomes);
  EXPECT_EQ(score.n, 4u);
  EXPECT_DOUBLE_EQ(score.first.value, 0.5);
  EXPECT_DOUBLE_EQ(score.first.error, std::sqrt(0.5 * 0.5 / 3));
  EXPECT_DOUBLE_EQ(score.second.value, 0.75);
  EXPECT_DOUBLE_EQ(score.second.error, std::sqrt(0.75 * 0.25 / 3));
  EXPECT_DOUBLE_EQ(score.perplexity, std::exp(1));
  EXPECT_EQ(score_of(Task::kPiqa, items, outcomes).perplexity, 0);
  EXPECT_EQ(score_of(Task::kPiqa, std::span(items).first(1), std::span(outcomes).first(1)).first.error, 0);
}

TEST(TaskScores, DifferencesArePaired) {
  const auto a = outcomes_of("11110000"), b = outcomes_of("11100000"), c = outcomes_of("11100001");
  const Mean one = paired_difference(a, b, &TaskOutcome::first);
  EXPECT_DOUBLE_EQ(one.value, 0.125);
  EXPECT_DOUBLE_EQ(one.error, std::sqrt((1 - 0.125) / 8 / 7));  // variance of one 1 among eight
  const Mean two = paired_difference(a, c, &TaskOutcome::first);
  EXPECT_DOUBLE_EQ(two.value, 0);
  EXPECT_DOUBLE_EQ(two.error, std::sqrt(2.0 / 7 / 8));
  EXPECT_DOUBLE_EQ(paired_difference(a, a, &TaskOutcome::first).error, 0);
}

TEST(TaskScores, SubjectsOfMmluArePooled) {
  std::vector<TaskItem> items(7);
  for (size_t i = 0; i < items.size(); ++i) items[i].subject = i < 3 ? "algebra" : "cooking";
  const auto outcomes = outcomes_of("1101000");
  const auto subjects = scores_by_subject(Task::kMmlu, items, outcomes);
  ASSERT_EQ(subjects.size(), 2u);
  EXPECT_EQ(subjects[0].subject, "algebra");
  EXPECT_EQ(subjects[1].score.n, 4u);
  EXPECT_DOUBLE_EQ(subjects[0].score.first.value, 2.0 / 3);
  EXPECT_DOUBLE_EQ(subjects[1].score.first.value, 0.25);
  const TaskScore all = score_of(Task::kMmlu, items, outcomes);
  EXPECT_DOUBLE_EQ(all.first.value, 3.0 / 7);
  // pooled_sample_stderr([sqrt(2/9/2), sqrt(3/16/3)], [3, 4]) of the harness
  EXPECT_NEAR(all.first.error, std::sqrt((2 * (2.0 / 18) * 3 + 3 * (1.0 / 16) * 4) / 5 / 7), 1e-12);
  EXPECT_TRUE(scores_by_subject(Task::kPiqa, items, outcomes).empty());
}

}  // namespace
}  // namespace hunch
