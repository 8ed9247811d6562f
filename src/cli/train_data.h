// What hunch train learns from: a text, examples of prompts and answers, or the questions of a task.
#pragma once
#include <vector>

#include "cli/train_flags.h"
#include "engine/engine.h"
#include "train/example_source.h"
#include "train/trainer.h"

namespace hunch::cli {

struct TrainData {
  std::vector<int32_t> ids, held_out;                   // of a text
  std::vector<Example> examples, held_out_examples;     // instead
  std::vector<Question> questions, held_out_questions;  // instead

  bool is_text() const { return examples.empty() && questions.empty(); }
  size_t n_windows(size_t n_ctx) const;
  // Of examples and choices, in tokens that are read.
  size_t longest() const;
  // SHA-256 of what is trained on.
  std::string hash() const;
};

// Reads --text, --examples or --task, and what is held out of it: --eval, or the last 5 % (of examples 10 %). Throws
// Error{kFormat} naming file and line.
TrainData read_train_data(const TrainFlags& flags, const Engine& engine, size_t n_ctx);

// A trainer on it. `data` outlives it.
Trainer make_trainer(Network& network, const TrainData& data, const TrainerOptions& options, Network* teacher);

}  // namespace hunch::cli
