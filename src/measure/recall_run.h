// Recall questions, put to a model in one or several ways.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "measure/compare.h"
#include "measure/recall_tasks.h"
#include "measure/task_scores.h"

namespace hunch {

struct RecallOutcome {
  bool exact = false;         // greedy decoding gives the answer
  double tokens = 0;          // share of the answer's tokens that are the most probable ones after those before them
  double log_likelihood = 0;  // of the answer, nats
};

struct RecallRun {
  std::string name;  // the mode's
  std::vector<RecallOutcome> outcomes;
  double kv_bytes_per_token = 0;  // keys and values that one token of questions and answers read
  double seconds = 0;
};

// When the question is asked.
enum class RecallAsked : uint8_t {
  kAfter,     // of a text that was read: what a policy drops is dropped, and the question is decoded token by token
  kInPrompt,  // with it: the question is the prompt's end, and a policy that looks there sees it
  // Without it: the text is a memory of the layer at three quarters of the depth (engine/memory_build.h), made anew for
  // each question, and nothing but question and answer is in the cache.
  kFromMemory,
};

// Every mode answers each question before the next one comes. Throws as Context.
std::vector<RecallRun> run_recall(const Engine& engine, std::span<const CompareMode> modes, const RecallSet& set,
                                  RecallAsked asked, const Progress& progress = {});

// Of the outcomes of the questions that `which` says yes to: the share that is exact, and the mean share of tokens.
struct RecallScore {
  size_t n = 0;
  Mean exact, tokens;
  double nll = 0;  // mean over questions, nats
};
RecallScore recall_score(const RecallSet& set, std::span<const RecallOutcome> outcomes,
                         const std::function<bool(const RecallQuestion&)>& which = {});
// How much more of the questions `a` answers exactly than `b`: the error is that of the differences by question.
Mean recall_difference(std::span<const RecallOutcome> a, std::span<const RecallOutcome> b);

}  // namespace hunch
