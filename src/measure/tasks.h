// Multiple-choice and last-word tasks, scored as EleutherAI's lm-evaluation-harness does.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/generate.h"

namespace hunch {

enum class Task : uint8_t {
  kLambada,
  kHellaSwag,
  kPiqa,
  kArcEasy,
  kArcChallenge,
  kWinoGrande,
  kBoolQ,
  kCopa,
  kOpenBookQa,
  kRte
};
// By its command-line name: lambada, hellaswag, piqa, arc_easy, arc_challenge, winogrande, boolq, copa,
// openbookqa, rte. Throws Error{kUsage} listing them.
Task task_from_name(std::string_view name);

// One question: contexts and continuations in pairs; the highest log-likelihood wins. Most tasks
// share one context; WinoGrande has two contexts and one continuation (partial scoring).
struct TaskItem {
  std::vector<std::string> contexts, continuations;  // equal lengths
  size_t gold = 0;
};

// Reads the task's file (jsonl or tsv; piqa takes its labels from `<name>-labels.lst` beside it).
// Throws Error{kFormat} naming file and line.
std::vector<TaskItem> read_task(Task task, const std::filesystem::path& path, size_t max_items = 0);

struct TaskResult {
  size_t n = 0;
  double acc = 0, acc_norm = 0;  // by log-likelihood; by log-likelihood per character of the choice
  double acc_stderr = 0;
  double perplexity = 0;  // LAMBADA: of the last word; 0 elsewhere
  double seconds = 0;
};

TaskResult evaluate_task(const Engine& engine, const ContextOptions& context, Task task,
                         const std::vector<TaskItem>& items, const Progress& progress = {});

}  // namespace hunch
