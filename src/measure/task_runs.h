// A task's questions, put to a model in one or several ways.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "measure/compare.h"
#include "measure/task_scores.h"

namespace hunch {

struct TaskRun {
  std::string name;  // the mode's
  std::vector<TaskOutcome> outcomes;
  double seconds = 0;
  // Tokens computed, of which those that questions have in common are computed once; GSM8K: decoded, without prompts.
  double tokens_per_s = 0;
  double density_mlp = 1;     // of these tokens
  bool speed_is_real = true;  // as CompareRow's
};

// Every mode answers each question before the next one comes, so that they share what the machine does meanwhile.
// Tokens of contexts and continuations are restricted as decoding would restrict them; GSM8K's prompts as prompts.
// Lossless modes are not for tasks: they have the answers of their context. Throws Error{kUsage} for a context that
// leaves no room for GSM8K's answers (256 tokens), else as ContinuationScorer.
std::vector<TaskRun> run_task(const Engine& engine, std::span<const CompareMode> modes, Task task,
                              std::span<const TaskItem> items, const Progress& progress = {});

}  // namespace hunch
