// Tasks of EleutherAI's lm-evaluation-harness (0.4.13): their questions, read as their authors publish them and put in
// the harness's words, character for character.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

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
  kRte,
  kMmlu,
  kGsm8k
};
// By its command-line name: lambada, hellaswag, piqa, arc_easy, arc_challenge, winogrande, boolq, copa,
// openbookqa, rte, mmlu, gsm8k. Throws Error{kUsage} listing them.
Task task_from_name(std::string_view name);

// What is asked of the model.
enum class Scoring : uint8_t {
  kChoice,    // which of several continuations is the most probable
  kLastWord,  // whether greedy decoding gives the continuation
  kNumber,    // a text of its own, of which the number counts
};
Scoring scoring_of(Task task);

// One question: contexts and continuations in pairs; the highest log-likelihood wins. Most tasks
// share one context; WinoGrande has two contexts and one continuation (partial scoring).
struct TaskItem {
  std::vector<std::string> contexts, continuations;  // equal lengths; of kNumber one context and no continuation
  size_t gold = 0;
  std::string answer = {};   // kNumber: as published
  std::string subject = {};  // MMLU
};

struct TaskReading {
  size_t max_items = 0;                 // of each file; 0: all
  size_t n_few_shot = 0;                // solved questions before each
  std::filesystem::path few_shot = {};  // the file or, for a folder of MMLU, the folder that they come from; empty:
                                        // that which lies beside, or else the first of the file, which are not scored
};

struct TaskQuestions {
  std::vector<TaskItem> items;     // not empty
  std::filesystem::path few_shot;  // where the solved ones come from; empty: there are none
};

// Reads the task's file; of MMLU one subject's, or a folder of them. The layouts are listed in docs/evaluation.md; piqa
// takes its labels from `<name>-labels.lst` beside the file. The solved questions are the first ones of theirs, the
// same for all. Throws Error{kFormat} naming file and line, Error{kNotFound | kUsage} for files that are missing or too
// short.
TaskQuestions read_task(Task task, const std::filesystem::path& path, const TaskReading& reading = {});

}  // namespace hunch
