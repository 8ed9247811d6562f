// From what came of each question to shares with standard errors.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "measure/tasks.h"

namespace hunch {

// What came of one question.
struct TaskOutcome {
  // The highest log-likelihood is the right one's; LAMBADA: every token of the last word was the most probable; GSM8K:
  // the number after "#### " is right.
  bool first = false;
  // The highest log-likelihood per character of the choice is the right one's; LAMBADA: as above; GSM8K: the last
  // number is right.
  bool second = false;
  double log_likelihood = 0;  // of LAMBADA's last word
};

// A mean of n values and its standard error, sqrt(sample variance / n), as the harness's mean_stderr(); 0 where n < 2.
struct Mean {
  double value = 0, error = 0;
};
Mean mean_and_error(std::span<const double> values);

struct TaskScore {
  size_t n = 0;
  Mean first, second;     // shares of the questions
  double perplexity = 0;  // LAMBADA: of the last word; 0 elsewhere
};

struct SubjectScore {
  std::string subject;
  TaskScore score;
};

// Of all questions alike. MMLU's standard errors are those of its subjects, pooled as the harness's
// pooled_sample_stderr() does.
TaskScore score_of(Task task, std::span<const TaskItem> items, std::span<const TaskOutcome> outcomes);
// MMLU: of each subject, in their order; empty for other tasks.
std::vector<SubjectScore> scores_by_subject(Task task, std::span<const TaskItem> items,
                                            std::span<const TaskOutcome> outcomes);
// How much more of the same questions `a` answers than `b`, and the standard error of that: of the differences by
// question, which is smaller than that of two shares apart.
Mean paired_difference(std::span<const TaskOutcome> a, std::span<const TaskOutcome> b, bool TaskOutcome::*which);

}  // namespace hunch
