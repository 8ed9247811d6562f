#include "cli/eval_recall.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/eval_models.h"
#include "cli/eval_task.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "io/printable.h"
#include "measure/recall_run.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;
using Cells = std::vector<std::vector<std::string>>;

RecallAsked asked_from(const std::string& word) {
  return word == "after"         ? RecallAsked::kAfter
         : word == "from-memory" ? RecallAsked::kFromMemory
                                 : RecallAsked::kInPrompt;
}

RecallOptions recall_options(const EvalFlags& flags, const Engine& engine) {
  const RecallFlags& r = flags.recall;
  RecallOptions options;
  options.task = *recall_task_from_name(flags.task);
  options.form = r.form == "words" ? RecallForm::kWords : r.form == "tokens" ? RecallForm::kTokens : RecallForm::kAuto;
  options.lengths = r.lengths;
  if (options.lengths.empty()) options.lengths = {resolve_context(engine.config(), flags.context.n_ctx)};
  options.depths = r.depths.empty() ? options.depths : parse_shares(r.depths, "--depths");
  options.n_samples = r.n_samples;
  options.n_keys = r.n_keys;
  options.n_hops = r.n_hops;
  options.seed = r.seed;
  return options;
}

std::string percent(const Mean& mean) { return fmt::format("{:.1f} +- {:.1f}", mean.value * 100, mean.error * 100); }

struct RecallResult {
  RecallOptions options;
  RecallSet set;
  std::vector<RecallRun> runs;

  RecallScore score(size_t run, size_t length, size_t depth) const {
    return recall_score(set, runs[run].outcomes,
                        [&](const RecallQuestion& q) { return q.length == length && q.depth == depth; });
  }
  RecallScore of_length(size_t run, size_t length) const {
    return recall_score(set, runs[run].outcomes, [&](const RecallQuestion& q) { return q.length == length; });
  }
  RecallScore of_depth(size_t run, size_t depth) const {
    return recall_score(set, runs[run].outcomes, [&](const RecallQuestion& q) { return q.depth == depth; });
  }
};

Json json_of(const RecallResult& result, size_t run) {
  const RecallRun& r = result.runs[run];
  const RecallScore all = recall_score(result.set, r.outcomes);
  Json json = {{"exact", all.exact.value},
               {"exact_stderr", all.exact.error},
               {"tokens", all.tokens.value},
               {"tokens_stderr", all.tokens.error},
               {"nll", all.nll},
               {"kv_bytes_per_token", r.kv_bytes_per_token},
               {"seconds", r.seconds}};
  if (run) {
    const Mean difference = recall_difference(r.outcomes, result.runs[0].outcomes);
    json["exact_difference"] = difference.value;
    json["exact_difference_stderr"] = difference.error;
  }
  json["grid"] = Json::array();
  for (size_t length = 0; length < result.options.lengths.size(); ++length)
    for (size_t depth = 0; depth < result.set.depths.size(); ++depth) {
      const RecallScore s = result.score(run, length, depth);
      json["grid"].push_back({{"length", result.options.lengths[length]},
                              {"depth", result.set.depths[depth]},
                              {"n", s.n},
                              {"exact", s.exact.value},
                              {"exact_stderr", s.exact.error},
                              {"tokens", s.tokens.value}});
    }
  return json;
}

const char* form_name(RecallForm form) { return form == RecallForm::kWords ? "words" : "tokens"; }

void print_result_json(const EvalFlags& flags, const RecallResult& result, const Engine& engine) {
  Json json = {
      {"task", flags.task},          {"n", result.set.questions.size()},  {"prompts", form_name(result.set.form)},
      {"asked", flags.recall.asked}, {"lengths", result.options.lengths}, {"depths", result.set.depths}};
  if (flags.compare.empty()) {
    json.update(json_of(result, 0));
  } else {
    json["reference"] = result.runs[0].name;
    for (size_t i = 0; i < result.runs.size(); ++i) json["modes"][result.runs[i].name] = json_of(result, i);
  }
  json["model"] = model_json(engine, flags.model);
  print_json(json);
}

// Rows are lengths, columns depths, all in percent.
void print_grid(const RecallResult& result) {
  Cells cells = {{"tokens"}};
  for (const double depth : result.set.depths) cells[0].push_back(fmt::format("depth {:g}", depth));
  cells[0].push_back("all, %");
  for (size_t length = 0; length < result.options.lengths.size(); ++length) {
    cells.push_back({grouped(result.options.lengths[length])});
    for (size_t depth = 0; depth < result.set.depths.size(); ++depth)
      cells.back().push_back(fmt::format("{:.0f}", result.score(0, length, depth).exact.value * 100));
    cells.back().push_back(percent(result.of_length(0, length).exact));
  }
  print(table(cells));
}

// Rows are modes; columns the lengths, or of a single length the depths.
void print_modes(const RecallResult& result) {
  const bool by_depth = result.options.lengths.size() == 1;
  Cells cells = {{"mode"}};
  const size_t n = by_depth ? result.set.depths.size() : result.options.lengths.size();
  for (size_t i = 0; i < n; ++i)
    cells[0].push_back(by_depth ? fmt::format("depth {:g}", result.set.depths[i])
                                : fmt::format("{} tokens", grouped(result.options.lengths[i])));
  cells[0].insert(cells[0].end(), {"all, %", "difference", "right tokens", "KV MB/token"});
  std::vector<std::string> names;
  for (const RecallRun& run : result.runs) names.push_back(printable(run.name, 300));
  names = without_folders(names);
  for (size_t run = 0; run < result.runs.size(); ++run) {
    const RecallScore all = recall_score(result.set, result.runs[run].outcomes);
    cells.push_back({names[run]});
    for (size_t i = 0; i < n; ++i) {
      const RecallScore s = by_depth ? result.of_depth(run, i) : result.of_length(run, i);
      cells.back().push_back(fmt::format("{:.0f}", s.exact.value * 100));
    }
    cells.back().insert(
        cells.back().end(),
        {percent(all.exact),
         run ? percent(recall_difference(result.runs[run].outcomes, result.runs[0].outcomes)) : std::string("-"),
         fmt::format("{:.1f}", all.tokens.value * 100),
         fmt::format("{:.3f}", result.runs[run].kv_bytes_per_token / 1e6)});
  }
  print(table(cells));
}

std::vector<CompareMode> recall_modes(const EvalFlags& flags) {
  std::vector<CompareMode> modes = task_modes(flags);
  if (names_models(modes))
    fail(ErrorKind::kUsage,
         "--compare: '{}' is another model, whose vocabulary would make other texts; ask each model by itself",
         printable(std::ranges::find_if(modes, [](const CompareMode& m) { return !m.model.empty(); })->name));
  return modes;
}

}  // namespace

bool is_recall_task(const std::string& name) { return recall_task_from_name(name).has_value(); }

int eval_recall(const EvalFlags& flags) {
  if (!flags.task_file.empty() || flags.max_items || flags.n_few_shot || !flags.few_shot_file.empty())
    fail(ErrorKind::kUsage,
         "--task {} makes its texts itself: --file, --max-items, --few-shot and --few-shot-file do not go with it; "
         "--lengths, --depths and --samples do",
         flags.task);
  std::vector<CompareMode> modes = recall_modes(flags);
  const Engine engine = open_engine(flags.model);
  load_plans(engine, modes);
  RecallResult result{recall_options(flags, engine), {}, {}};
  result.set = recall_questions(engine.need_tokenizer(), result.options);
  const size_t longest = *std::ranges::max_element(result.options.lengths);
  print_first_line(engine, flags.model, flags.context, resolve_context(engine.config(), longest), 0);
  {
    ProgressBar bar(!flags.model.quiet);
    result.runs = run_recall(engine, modes, result.set, asked_from(flags.recall.asked), bar.progress());
  }
  if (flags.model.json) {
    print_result_json(flags, result, engine);
    return 0;
  }
  if (flags.compare.empty()) {
    print_grid(result);
    const RecallScore all = recall_score(result.set, result.runs[0].outcomes);
    print(paragraph(fmt::format("{}: {} % of {} questions answered exactly, {:.1f} % of the answers' tokens right",
                                flags.task, percent(all.exact), all.n, all.tokens.value * 100)) +
          "\n");
  } else {
    print_modes(result);
  }
  if (flags.model.quiet) return 0;
  note(fmt::format(
      "{} questions, {} for each length and depth (0: the beginning), in {}; asked {}. % answered exactly by greedy "
      "decoding; +- is one standard error, of differences by question where they are to the first mode's; right "
      "tokens: % of the answers', each after the right ones; KV: read by a token of questions and answers.",
      result.set.questions.size(), result.options.n_samples, form_name(result.set.form),
      flags.recall.asked == "after"         ? "after the text was read"
      : flags.recall.asked == "from-memory" ? "of a memory of the text"
                                            : "in the prompt"));
  return 0;
}

}  // namespace hunch::cli
