#include "cli/eval_task.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/eval_models.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "io/printable.h"
#include "measure/task_runs.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Measure {
  const char *key, *heading;
  Mean TaskScore::*score;
  bool TaskOutcome::*outcome;
};

// What a task's two numbers are called, in JSON and in tables; LAMBADA has one.
std::vector<Measure> measures_of(Task task) {
  const bool number = scoring_of(task) == Scoring::kNumber;
  std::vector<Measure> measures = {
      {number ? "exact_match_strict" : "acc", number ? "#### N" : "acc", &TaskScore::first, &TaskOutcome::first},
      {number ? "exact_match_flexible" : "acc_norm", number ? "last number" : "acc_norm", &TaskScore::second,
       &TaskOutcome::second}};
  if (scoring_of(task) == Scoring::kLastWord) measures.pop_back();
  return measures;
}

// What was asked and what came of it, in each mode.
struct TaskResult {
  Task task;
  TaskQuestions questions = {};
  std::vector<TaskRun> runs = {};
  std::vector<ModelSize> sizes = {};    // of the runs' models; empty: there is but one model
  std::vector<std::string> names = {};  // of the runs, for people

  TaskScore score(size_t run) const { return score_of(task, questions.items, runs[run].outcomes); }
  std::vector<SubjectScore> subjects(size_t run) const {
    return scores_by_subject(task, questions.items, runs[run].outcomes);
  }
};

void put(Json& json, const char* key, const Mean& mean) {
  json[key] = mean.value;
  json[std::string(key) + "_stderr"] = mean.error;
}

void put_score(Json& json, Task task, const TaskScore& score) {
  for (const Measure& m : measures_of(task)) put(json, m.key, score.*m.score);
  if (task == Task::kLambada) json["perplexity"] = score.perplexity;
}

Json json_of(const TaskResult& result, size_t run) {
  const TaskRun& r = result.runs[run];
  Json json = Json::object();
  put_score(json, result.task, result.score(run));
  // As ever: LAMBADA's one number under both names.
  if (result.task == Task::kLambada) put(json, "acc_norm", result.score(run).second);
  json["density_mlp"] = r.density_mlp;
  json["seconds"] = r.seconds;
  json["tokens_per_s"] = r.speed_is_real ? Json(r.tokens_per_s) : Json();
  if (!result.sizes.empty()) {
    json["bits_per_weight"] = result.sizes[run].bits_per_weight();
    json["file_bytes"] = result.sizes[run].file_bytes;
  }
  if (run)
    for (const Measure& m : measures_of(result.task))
      put(json, (std::string(m.key) + "_difference").c_str(),
          paired_difference(r.outcomes, result.runs[0].outcomes, m.outcome));
  for (const auto& [subject, score] : result.subjects(run)) {
    Json& entry = json["subjects"][subject] = {{"n", score.n}};
    put_score(entry, result.task, score);
  }
  return json;
}

void print_result_json(const EvalFlags& flags, const TaskResult& result, const Engine& engine) {
  Json json = {{"task", flags.task}, {"n", result.questions.items.size()}};
  json["few_shot"] = {{"n", flags.n_few_shot}};
  if (flags.n_few_shot) json["few_shot"]["file"] = result.questions.few_shot.string();
  if (flags.compare.empty()) {
    json.update(json_of(result, 0));
  } else {
    json["reference"] = result.runs[0].name;
    for (size_t i = 0; i < result.runs.size(); ++i) json["modes"][result.runs[i].name] = json_of(result, i);
  }
  json["model"] = model_json(engine, flags.model);
  print_json(json);
}

std::string percent(const Mean& mean) { return fmt::format("{:.2f} +- {:.2f}", mean.value * 100, mean.error * 100); }

// One line, and for MMLU a table of its subjects before it.
void print_answer(const EvalFlags& flags, const TaskResult& result) {
  const TaskScore score = result.score(0);
  if (const auto subjects = result.subjects(0); subjects.size() > 1) {
    std::vector<std::vector<std::string>> cells = {{"subject", "questions", "acc, %"}};
    for (const auto& [subject, of_subject] : subjects)
      cells.push_back({printable(subject), fmt::format("{}", of_subject.n), percent(of_subject.first)});
    print(table(cells));
  }
  std::string line = fmt::format("{}: ", flags.task);
  if (scoring_of(result.task) == Scoring::kNumber) {
    line += fmt::format("exact match after '####' {:.2f} % +- {:.2f}, of the last number {:.2f} % +- {:.2f}",
                        score.first.value * 100, score.first.error * 100, score.second.value * 100,
                        score.second.error * 100);
  } else {
    line += fmt::format("accuracy {:.2f} % +- {:.2f}", score.first.value * 100, score.first.error * 100);
    line += result.task == Task::kLambada ? fmt::format(", perplexity {:.3f}", score.perplexity)
                                          : fmt::format(", normalised by length {:.2f} % +- {:.2f}",
                                                        score.second.value * 100, score.second.error * 100);
  }
  print(paragraph(fmt::format("{}, {} questions", line, score.n), 2) + "\n");
}

std::vector<std::string> names_of(const TaskResult& result) {
  std::vector<std::string> names;
  for (const TaskRun& run : result.runs) names.push_back(printable(run.name, 300));
  return without_folders(names);
}

void print_modes(const TaskResult& result) {
  const std::vector<std::string> names = names_of(result);
  std::vector<std::vector<std::string>> cells = {{"mode"}};
  const std::vector<Measure> measures = measures_of(result.task);
  for (const Measure& m : measures) cells[0].insert(cells[0].end(), {fmt::format("{}, %", m.heading), "difference"});
  if (result.task == Task::kLambada) cells[0].push_back("perplexity");
  cells[0].insert(cells[0].end(), {"neurons", "tokens/s"});
  for (size_t i = 0; i < result.runs.size(); ++i) {
    const TaskRun& run = result.runs[i];
    const TaskScore score = result.score(i);
    cells.push_back({names[i]});
    for (const Measure& m : measures)
      cells.back().insert(
          cells.back().end(),
          {percent(score.*m.score),
           i ? percent(paired_difference(run.outcomes, result.runs[0].outcomes, m.outcome)) : std::string("-")});
    if (result.task == Task::kLambada) cells.back().push_back(fmt::format("{:.3f}", score.perplexity));
    cells.back().insert(cells.back().end(), {share_text(run.density_mlp),
                                             run.speed_is_real ? fmt::format("{:.1f}", run.tokens_per_s) : "-"});
  }
  print(table(cells));
}

std::string short_percent(const Mean& mean, bool is_difference) {
  return is_difference ? fmt::format("{:+.1f} +-{:.1f}", mean.value * 100, mean.error * 100)
                       : fmt::format("{:.1f} +-{:.1f}", mean.value * 100, mean.error * 100);
}

// Several models: what each takes, in 80 columns.
void print_models(const TaskResult& result) {
  std::vector<std::vector<std::string>> cells = {{"model"}};
  const std::vector<Measure> measures = measures_of(result.task);
  for (const Measure& m : measures) cells[0].insert(cells[0].end(), {fmt::format("{}, %", m.heading), "difference"});
  if (result.task == Task::kLambada) cells[0].push_back("perplexity");
  cells[0].insert(cells[0].end(), {"bits", "MB", "tok/s"});
  for (size_t i = 0; i < result.runs.size(); ++i) {
    const TaskRun& run = result.runs[i];
    const TaskScore score = result.score(i);
    cells.push_back({result.names[i]});
    for (const Measure& m : measures) {
      cells.back().push_back(short_percent(score.*m.score, false));
      cells.back().push_back(
          i ? short_percent(paired_difference(run.outcomes, result.runs[0].outcomes, m.outcome), true) : "-");
    }
    if (result.task == Task::kLambada) cells.back().push_back(fmt::format("{:.2f}", score.perplexity));
    cells.back().insert(cells.back().end(), {fmt::format("{:.2f}", result.sizes[i].bits_per_weight()),
                                             fmt::format("{:.1f}", double(result.sizes[i].file_bytes) / 1e6),
                                             run.speed_is_real ? fmt::format("{:.0f}", run.tokens_per_s) : "-"});
  }
  print(table(cells));
}

// MMLU: a row for each subject, a column for each mode.
void print_subjects(const TaskResult& result) {
  const std::vector<std::string> names = names_of(result);
  std::vector<std::vector<std::string>> cells = {{"subject", "questions"}};
  for (size_t i = 0; i < result.runs.size(); ++i) {
    cells[0].push_back(names[i] + ", %");
    const auto subjects = result.subjects(i);
    if (subjects.size() < 2) return;
    for (size_t s = 0; s < subjects.size(); ++s) {
      if (i == 0) cells.push_back({printable(subjects[s].subject), fmt::format("{}", subjects[s].score.n)});
      cells[s + 1].push_back(percent(subjects[s].score.first));
    }
  }
  print(table(cells));
}

// MODEL's own modes together, then one model after the other.
void run_all(const Engine& engine, const EvalFlags& flags, std::span<const CompareMode> modes, TaskResult& result) {
  const auto run_some = [&](std::span<const CompareMode> some) {
    ProgressBar bar(!flags.model.quiet);
    return run_task(engine, some, result.task, result.questions.items, bar.progress());
  };
  if (!names_models(modes)) {
    result.runs = run_some(modes);
    return;
  }
  result.names = short_names(modes);
  result.sizes.resize(modes.size());
  result.runs.resize(modes.size());
  const ModelSize own_size = size_of(engine, resolve_model(flags.model));
  std::vector<CompareMode> own;
  for (const CompareMode& mode : modes)
    if (mode.model.empty()) own.push_back(mode);
  std::vector<TaskRun> own_runs = run_some(own);
  for (size_t m = 0, n = 0; m < modes.size(); ++m) {
    if (modes[m].model.empty()) {
      result.runs[m] = std::move(own_runs[n++]);
      result.sizes[m] = own_size;
      continue;
    }
    const Engine other = open_other(engine, flags, modes[m], result.sizes[m]);
    CompareMode mode = modes[m];
    mode.engine = &other;
    result.runs[m] = std::move(run_some({&mode, 1})[0]);
  }
}

}  // namespace

std::vector<CompareMode> task_modes(const EvalFlags& flags) {
  const ContextOptions context = context_options(flags.context);
  if (flags.compare.empty()) return {{flags.context.mode, context}};
  std::vector<CompareMode> modes = parse_modes(flags.compare, context);
  if (std::ranges::any_of(modes, &CompareMode::lossless))
    fail(ErrorKind::kUsage, "--compare: lossless changes speed and no answers; it goes with --text, not with --task");
  return modes;
}

int eval_task(const EvalFlags& flags) {
  if (flags.task_file.empty()) fail(ErrorKind::kUsage, "--task {} needs its questions: --file FILE", flags.task);
  if (!flags.few_shot_file.empty() && flags.n_few_shot == 0)
    fail(ErrorKind::kUsage, "--few-shot-file: how many of its questions? Add --few-shot N");
  std::vector<CompareMode> modes = task_modes(flags);
  if (names_models(modes)) check_first(flags, modes);
  TaskResult result{.task = task_from_name(flags.task)};
  result.questions = read_task(result.task, flags.task_file, {flags.max_items, flags.n_few_shot, flags.few_shot_file});
  const Engine engine = open_engine(flags.model);
  engine.need_tokenizer();
  check_models(engine, flags, modes);
  load_plans(engine, modes);
  print_first_line(engine, flags.model, flags.context, resolve_context(engine.config(), flags.context.n_ctx), 0);
  run_all(engine, flags, modes, result);
  if (flags.model.json) {
    print_result_json(flags, result, engine);
    return 0;
  }
  if (flags.compare.empty()) {
    print_answer(flags, result);
  } else {
    print_subjects(result);
    result.sizes.empty() ? print_modes(result) : print_models(result);
  }
  if (flags.model.quiet) return 0;
  if (flags.n_few_shot)
    note(fmt::format("{} solved questions of '{}' before each", flags.n_few_shot,
                     printable(result.questions.few_shot.string(), 300)));
  if (flags.compare.empty()) {
    note(fmt::format("{:.1f} s", result.runs[0].seconds));
  } else {
    note(fmt::format(
        "{} questions; +- is one standard error, of the differences by question where they are to the first mode's; "
        "tokens/s: {}",
        result.questions.items.size(),
        scoring_of(result.task) == Scoring::kNumber ? "of answers, decoded"
                                                    : "computed, of which what questions have in common is once"));
  }
  return 0;
}

}  // namespace hunch::cli
