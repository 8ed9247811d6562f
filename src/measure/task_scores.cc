#include "measure/task_scores.h"

#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

Mean share_of(std::span<const TaskOutcome> outcomes, bool TaskOutcome::*which) {
  std::vector<double> values;
  for (const TaskOutcome& outcome : outcomes) values.push_back(outcome.*which);
  return mean_and_error(values);
}

double pooled_error(std::span<const SubjectScore> subjects, Mean TaskScore::*which) {
  double sum = 0, n = 0;
  for (const auto& [subject, score] : subjects) {
    const double size = double(score.n), error = (score.*which).error;
    sum += (size - 1) * error * error * size;
    n += size;
  }
  return n > double(subjects.size()) ? std::sqrt(sum / (n - double(subjects.size())) / n) : 0;
}

TaskScore plain_score(Task task, std::span<const TaskOutcome> outcomes) {
  TaskScore score{outcomes.size(), share_of(outcomes, &TaskOutcome::first), share_of(outcomes, &TaskOutcome::second)};
  double nll = 0;
  for (const TaskOutcome& outcome : outcomes) nll -= outcome.log_likelihood;
  if (task == Task::kLambada) score.perplexity = std::exp(nll / double(outcomes.size()));
  return score;
}

}  // namespace

Mean mean_and_error(std::span<const double> values) {
  const double n = double(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  Mean mean{values.empty() ? 0 : sum / n};
  for (const double v : values) squares += (v - mean.value) * (v - mean.value);
  if (values.size() > 1) mean.error = std::sqrt(squares / (n - 1) / n);
  return mean;
}

std::vector<SubjectScore> scores_by_subject(Task task, std::span<const TaskItem> items,
                                            std::span<const TaskOutcome> outcomes) {
  HUNCH_CHECK(items.size() == outcomes.size(), "{} outcomes of {} questions", outcomes.size(), items.size());
  std::vector<SubjectScore> scores;
  if (task != Task::kMmlu) return scores;
  for (size_t begin = 0, end = 0; begin < items.size(); begin = end) {
    while (end < items.size() && items[end].subject == items[begin].subject) ++end;
    scores.push_back({items[begin].subject, plain_score(task, outcomes.subspan(begin, end - begin))});
  }
  return scores;
}

TaskScore score_of(Task task, std::span<const TaskItem> items, std::span<const TaskOutcome> outcomes) {
  TaskScore score = plain_score(task, outcomes);
  if (const auto subjects = scores_by_subject(task, items, outcomes); subjects.size() > 1) {
    score.first.error = pooled_error(subjects, &TaskScore::first);
    score.second.error = pooled_error(subjects, &TaskScore::second);
  }
  return score;
}

Mean paired_difference(std::span<const TaskOutcome> a, std::span<const TaskOutcome> b, bool TaskOutcome::*which) {
  HUNCH_CHECK(a.size() == b.size(), "{} and {} outcomes of the same questions", a.size(), b.size());
  std::vector<double> by_question;
  for (size_t i = 0; i < a.size(); ++i) by_question.push_back(double(a[i].*which) - double(b[i].*which));
  return mean_and_error(by_question);
}

}  // namespace hunch
