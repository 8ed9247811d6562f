#include "cli/train_data.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "cli/console.h"
#include "cli/teacher_answers.h"
#include "io/printable.h"
#include "measure/continuation_scorer.h"
#include "measure/tasks.h"
#include "train/training.h"

namespace hunch::cli {
namespace {

// Those without an answer are an error, or left out and counted.
std::vector<Example> read_examples(const std::string& path, const Tokenizer& tokenizer, bool leaves_out_empty = false) {
  std::vector<Example> examples;
  size_t n_empty = 0;
  std::istringstream lines(read_text(path));
  size_t n_line = 0;
  for (std::string line; std::getline(lines, line);) {
    ++n_line;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    try {
      const nlohmann::json json = nlohmann::json::parse(line);
      if (leaves_out_empty && json.at("answer") == "") {
        ++n_empty;
        continue;
      }
      examples.push_back(
          encode_example(tokenizer, json.at("prompt").get<std::string>(), json.at("answer").get<std::string>()));
    } catch (const Error& e) {
      fail(ErrorKind::kFormat, "'{}' line {}: {}", path, n_line, e.what());
    } catch (const nlohmann::json::exception& e) {
      fail(ErrorKind::kFormat, "'{}' line {}: expected {{\"prompt\": TEXT, \"answer\": TEXT}}: {}", path, n_line,
           printable(e.what(), 200));
    }
  }
  if (n_empty > 0) note(fmt::format("note: {} prompts have no answer and are left out", n_empty));
  if (leaves_out_empty && examples.empty()) fail(ErrorKind::kUsage, "'{}': the teacher answered nothing", path);
  return examples;
}

// The questions as `hunch eval --task` asks them.
void read_questions(const TrainFlags& flags, const Tokenizer& tokenizer, TrainData& data) {
  const Task task = task_from_name(flags.task);
  if (scoring_of(task) == Scoring::kNumber)
    fail(ErrorKind::kUsage, "--task {}: its answers are texts of the model's own; give --examples", flags.task);
  for (const TaskItem& item : read_task(task, flags.file).items) {
    Question question{{}, item.gold};
    for (size_t c = 0; c < item.contexts.size(); ++c) {
      EncodedPair pair = encode_pair(tokenizer, item.contexts[c], item.continuations[c]);
      question.choices.push_back({std::move(pair.ids), pair.n_before});
    }
    if (scoring_of(task) == Scoring::kChoice) {
      data.questions.push_back(std::move(question));
    } else {
      data.examples.push_back(std::move(question.choices[item.gold]));
    }
  }
}

}  // namespace

size_t TrainData::n_windows(size_t n_ctx) const {
  if (!is_text()) return examples.size() + questions.size();
  return windows_of_text(ids.size(), n_ctx);
}

size_t TrainData::longest() const {
  size_t n = std::max(longest_example(examples), longest_example(held_out_examples));
  for (const auto* some : {&questions, &held_out_questions})
    for (const Question& q : *some) n = std::max(n, longest_example(q.choices));
  return n;
}

std::string TrainData::hash() const { return hash_of(ids, examples, questions); }

TrainData read_train_data(const TrainFlags& flags, const Engine& engine, size_t n_ctx) {
  TrainData data;
  if (!flags.text.empty()) {
    data.ids = engine.encode(read_text(flags.text));
    if (flags.eval.empty()) {
      data.held_out = hold_out(data.ids, n_ctx);
      if (data.held_out.empty() && !flags.model.quiet)
        note("note: the text is too short to hold a part of it out; --eval FILE measures the loss on another");
    } else {
      data.held_out = engine.encode(read_text(flags.eval));
    }
    return data;
  }
  const Tokenizer& tokenizer = engine.need_tokenizer();
  if (flags.task.empty()) {
    const bool answered = !flags.prompts.empty();
    data.examples = read_examples(answered ? answers_path(flags) : flags.examples, tokenizer, answered);
  } else {
    read_questions(flags, tokenizer, data);
  }
  if (!flags.eval.empty() && !data.questions.empty())
    fail(ErrorKind::kUsage,
         "--eval: of a task's questions the last tenth is held out; hunch eval --task scores others");
  data.held_out_questions = hold_out(data.questions);
  data.held_out_examples = flags.eval.empty() ? hold_out(data.examples) : read_examples(flags.eval, tokenizer);
  return data;
}

Trainer make_trainer(Network& network, const TrainData& data, const TrainerOptions& options, Network* teacher) {
  if (data.is_text()) return Trainer(network, data.ids, data.held_out, options, teacher);
  const size_t n_together = std::max<size_t>(1, kTokensTogether / std::max<size_t>(1, options.n_ctx));
  if (data.questions.empty())
    return Trainer(network, std::make_unique<ExampleSource>(data.examples, options.n_ctx, options.seed),
                   examples_in_order(data.held_out_examples, n_together), options, teacher);
  auto source = std::make_unique<QuestionSource>(data.questions, options.n_ctx, options.seed);
  const size_t n = std::max<size_t>(1, n_together / source->n_sequences());
  return Trainer(network, std::move(source), questions_in_order(data.held_out_questions, n), options, teacher);
}

}  // namespace hunch::cli
