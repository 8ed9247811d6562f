// The tasks' files.
#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "base/error.h"
#include "base/file.h"
#include "jinja/unicode.h"
#include "measure/csv.h"
#include "measure/task_items.h"
#include "measure/task_paths.h"
#include "measure/tasks.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

struct NamedTask {
  const char* name;
  Task task;
};
constexpr NamedTask kTasks[] = {{"lambada", Task::kLambada},
                                {"hellaswag", Task::kHellaSwag},
                                {"piqa", Task::kPiqa},
                                {"arc_easy", Task::kArcEasy},
                                {"arc_challenge", Task::kArcChallenge},
                                {"winogrande", Task::kWinoGrande},
                                {"boolq", Task::kBoolQ},
                                {"copa", Task::kCopa},
                                {"openbookqa", Task::kOpenBookQa},
                                {"rte", Task::kRte},
                                {"mmlu", Task::kMmlu},
                                {"gsm8k", Task::kGsm8k}};

// PIQA's, where it has a file of its own.
std::vector<size_t> read_labels(const fs::path& path) {
  const fs::path labels = path.parent_path() / (path.stem().string() + "-labels.lst");
  if (std::error_code ec; !fs::exists(labels, ec)) return {};
  std::istringstream file(read_file(labels));
  std::vector<size_t> out;
  size_t n_line = 0;
  for (std::string line; std::getline(file, line);) {
    ++n_line;
    const std::string_view label = jinja::strip(line);
    if (label.empty()) continue;
    if (label != "0" && label != "1")
      fail(ErrorKind::kFormat, "'{}' line {}: expected a label 0 or 1, found '{}'", labels.string(), n_line, label);
    out.push_back(label == "1");
  }
  return out;
}

std::vector<std::string> split_tabs(std::string_view line) {
  std::vector<std::string> fields;
  size_t begin = 0;
  for (size_t tab; (tab = line.find('\t', begin)) != line.npos; begin = tab + 1)
    fields.emplace_back(line.substr(begin, tab - begin));
  fields.emplace_back(line.substr(begin));
  return fields;
}

// How a file's lines become questions; stateful, from its first line to its last.
class TaskLines {
 public:
  TaskLines(Task task, const fs::path& path) : task_(task) {
    if (task == Task::kPiqa) labels_ = read_labels(path);
  }

  // None: the line is empty, or the headings.
  std::optional<TaskItem> item(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (jinja::strip(line).empty()) return {};
    if (is_json(line)) {
      const nlohmann::json json = nlohmann::json::parse(line);
      if (labels_.empty()) return item_from_json(task_, json);
      if (n_ == labels_.size()) throw std::invalid_argument(fmt::format("{} labels, one for each line", n_ + 1));
      return item_from_json(task_, json, labels_[n_++]);
    }
    if (task_ == Task::kLambada) return item_from_text(std::string(jinja::strip(line, false)));
    const std::vector<std::string> fields = split_tabs(line);
    if (!headings_.empty()) return item_from_fields(task_, headings_, fields);
    headings_ = fields;
    return {};
  }

 private:
  // OpenBookQA, RTE and LAMBADA have two forms each, of which JSON begins like this.
  bool is_json(std::string_view line) const {
    const bool other = task_ == Task::kLambada || task_ == Task::kOpenBookQa || task_ == Task::kRte;
    return headings_.empty() && (!other || jinja::strip(line).starts_with('{'));
  }

  Task task_;
  std::vector<size_t> labels_;
  std::vector<std::string> headings_;
  size_t n_ = 0;
};

// What `read` makes of a line; says where it is wrong.
std::optional<TaskItem> checked(const fs::path& path, size_t line,
                                const std::function<std::optional<TaskItem>()>& read) {
  try {
    std::optional<TaskItem> item = read();
    if (item && item->gold >= item->contexts.size())
      throw std::invalid_argument(
          fmt::format("a right answer among {} choices, found number {}", item->contexts.size(), item->gold));
    return item;
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorKind::kFormat, "'{}' line {}: not what the task expects: {}", path.string(), line, e.what());
  } catch (const std::invalid_argument& e) {
    fail(ErrorKind::kFormat, "'{}' line {}: expected {}", path.string(), line, e.what());
  }
}

// At most `most` questions; 0: all.
std::vector<TaskItem> read_items(Task task, const TaskFile& file, size_t most) {
  const std::string text = read_file(file.path);
  std::vector<TaskItem> items;
  const auto add = [&](size_t line, const std::function<std::optional<TaskItem>()>& read) {
    if (std::optional<TaskItem> item = checked(file.path, line, read)) items.push_back(std::move(*item));
    return most && items.size() == most;
  };
  if (task == Task::kMmlu) {
    for (const CsvRecord& record : parse_csv(text, file.path.string()))
      if (add(record.line, [&] { return item_from_record(record.fields, file.subject); })) break;
    return items;
  }
  TaskLines lines(task, file.path);
  std::istringstream stream(text);
  size_t n_line = 0;
  for (std::string line; std::getline(stream, line);)
    if (add(++n_line, [&] { return lines.item(line); })) break;
  return items;
}

// Puts solved questions before those of one file.
void add_solved(Task task, const TaskFile& file, const TaskReading& reading, std::vector<TaskItem>& items,
                fs::path& from) {
  std::string before = task == Task::kMmlu ? description_of(file.subject) : "";
  if (const size_t n = reading.n_few_shot) {
    const fs::path path = few_shot_file(task, file, reading.few_shot);
    std::vector<TaskItem> examples;
    if (path.empty()) {
      examples.assign(items.begin(), items.begin() + long(std::min(n, items.size())));
      items.erase(items.begin(), items.begin() + long(examples.size()));
    } else {
      examples = read_items(task, {path, file.subject}, n);
    }
    from = path.empty() ? file.path : path;
    if (examples.size() < n)
      fail(ErrorKind::kUsage, "'{}' has {} questions, expected {} solved ones (n_few_shot)", from.string(),
           examples.size(), n);
    for (const TaskItem& example : examples) before += solved(task, example) + "\n\n";
  }
  for (TaskItem& item : items)
    for (std::string& context : item.contexts) context.insert(0, before);
}

}  // namespace

Task task_from_name(std::string_view name) {
  std::vector<std::string_view> known;
  for (const NamedTask& t : kTasks) {
    if (name == t.name) return t.task;
    known.push_back(t.name);
  }
  fail(ErrorKind::kUsage, "unknown task '{}'; known: {}", name, fmt::join(known, ", "));
}

Scoring scoring_of(Task task) {
  if (task == Task::kLambada) return Scoring::kLastWord;
  return task == Task::kGsm8k ? Scoring::kNumber : Scoring::kChoice;
}

TaskQuestions read_task(Task task, const fs::path& path, const TaskReading& reading) {
  TaskQuestions out;
  const std::vector<TaskFile> files = task_files(task, path);
  for (const TaskFile& file : files) {
    const bool own = reading.n_few_shot && few_shot_file(task, file, reading.few_shot).empty();
    const size_t most = reading.max_items ? reading.max_items + (own ? reading.n_few_shot : 0) : 0;
    std::vector<TaskItem> items = read_items(task, file, most);
    if (items.empty()) fail(ErrorKind::kUsage, "'{}' has no questions", file.path.string());
    add_solved(task, file, reading, items, out.few_shot);
    if (items.empty())
      fail(ErrorKind::kUsage, "'{}' has {} questions, which all stand solved before others (n_few_shot): none is left",
           file.path.string(), reading.n_few_shot);
    std::ranges::move(items, std::back_inserter(out.items));
  }
  if (files.size() > 1 && !out.few_shot.empty()) out.few_shot = out.few_shot.parent_path();
  return out;
}

}  // namespace hunch
