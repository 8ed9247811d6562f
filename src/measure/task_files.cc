// The tasks' files and prompts. Wording of the prompts as in EleutherAI's lm-evaluation-harness.
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
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
                                {"rte", Task::kRte}};

// One context, several continuations, each after a space.
TaskItem choices(const std::string& context, const std::vector<std::string>& options, size_t gold) {
  TaskItem item;
  for (const std::string& option : options) {
    item.contexts.push_back(context);
    item.continuations.push_back(" " + option);
  }
  item.gold = gold;
  return item;
}

std::string trimmed(const std::string& s) {
  const size_t begin = s.find_first_not_of(" \t\r\n"), end = s.find_last_not_of(" \t\r\n");
  return begin == s.npos ? "" : s.substr(begin, end - begin + 1);
}

TaskItem from_json(Task task, const nlohmann::json& j, size_t label) {
  switch (task) {
    case Task::kLambada: {
      const std::string text = j.at("text");
      const size_t space = text.rfind(' ');
      if (space == text.npos) throw std::invalid_argument("a text of at least two words");
      return {{text.substr(0, space)}, {text.substr(space)}, 0};
    }
    case Task::kHellaSwag:
    case Task::kCopa: return choices(j.at("query"), j.at("choices"), j.at("gold"));
    case Task::kArcEasy:
    case Task::kArcChallenge: {
      std::string query = j.at("query");
      if (!query.ends_with("Answer:")) query += "\nAnswer:";
      return choices(query, j.at("choices"), j.at("gold"));
    }
    case Task::kPiqa:
      return choices("Question: " + j.at("goal").get<std::string>() + "\nAnswer:", {j.at("sol1"), j.at("sol2")}, label);
    case Task::kWinoGrande: {  // partial scoring (Trinh and Le 2018): the option is in the context, the rest is scored
      const std::string sentence = j.at("sentence"), answer = j.at("answer");
      const size_t gap = sentence.find('_');
      if (gap == sentence.npos) throw std::invalid_argument("a sentence with '_'");
      const std::string before = sentence.substr(0, gap), after = " " + trimmed(sentence.substr(gap + 1));
      return {{before + j.at("option1").get<std::string>(), before + j.at("option2").get<std::string>()},
              {after, after},
              answer == "2" ? 1u : 0u};
    }
    case Task::kBoolQ: {
      const std::string prompt =
          j.at("passage").get<std::string>() + "\nQuestion: " + j.at("question").get<std::string>() + "?\nAnswer:";
      return choices(prompt, {"no", "yes"}, j.at("answer").get<bool>() ? 1 : 0);
    }
    default: throw std::invalid_argument("a JSON task");
  }
}

std::vector<std::string> split_tabs(const std::string& line) {
  std::vector<std::string> fields;
  size_t begin = 0;
  for (size_t tab; (tab = line.find('\t', begin)) != line.npos; begin = tab + 1)
    fields.push_back(line.substr(begin, tab - begin));
  fields.push_back(line.substr(begin));
  return fields;
}

// "(A) make more (B) quit" -> {"make more", "quit"}
std::vector<std::string> lettered(const std::string& text) {
  std::vector<std::string> options;
  for (size_t at = text.find("(A)"), letter = 0; at != text.npos; ++letter) {
    const size_t next = text.find(std::string("(") + char('B' + letter) + ")", at);
    options.push_back(trimmed(text.substr(at + 3, next == text.npos ? next : next - at - 3)));
    at = next;
  }
  return options;
}

TaskItem from_fields(Task task, const std::vector<std::string>& f) {
  if (task == Task::kOpenBookQa) {
    if (f.size() < 5 || f[4].empty()) throw std::invalid_argument("five fields");
    const std::vector<std::string> options = lettered(f[2]);
    const size_t gold = size_t(f[4][0] - 'A');
    if (gold >= options.size()) throw std::invalid_argument("an answer among the choices");
    return choices(f[1], options, gold);
  }
  if (f.size() < 3 || (f[2] != "0" && f[2] != "1")) throw std::invalid_argument("two sentences and a label 0 or 1");
  return choices(f[0] + "\nQuestion: " + f[1] + " True or False?\nAnswer:", {"True", "False"}, f[2] == "1");
}

std::vector<size_t> read_labels(const fs::path& path) {
  fs::path labels = path.parent_path() / (path.stem().string() + "-labels.lst");
  std::ifstream file(labels);
  if (!file) fail(ErrorKind::kNotFound, "piqa: the labels '{}' are missing", labels.string());
  std::vector<size_t> out;
  for (size_t label; file >> label;) out.push_back(label);
  return out;
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

std::vector<TaskItem> read_task(Task task, const fs::path& path, size_t max_items) {
  std::ifstream file(path);
  if (!file) fail(ErrorKind::kNotFound, "cannot open '{}'", path.string());
  const bool tsv = task == Task::kOpenBookQa || task == Task::kRte;
  const std::vector<size_t> labels = task == Task::kPiqa ? read_labels(path) : std::vector<size_t>();
  std::vector<TaskItem> items;
  size_t n_line = 0;
  for (std::string line; std::getline(file, line) && (max_items == 0 || items.size() < max_items);) {
    ++n_line;
    if ((tsv && n_line == 1) || trimmed(line).empty()) continue;
    try {
      if (task == Task::kPiqa && items.size() >= labels.size()) throw std::invalid_argument("a label for every item");
      TaskItem item =
          tsv ? from_fields(task, split_tabs(line))
              : from_json(task, nlohmann::json::parse(line), task == Task::kPiqa ? labels[items.size()] : 0);
      if (item.gold >= item.contexts.size()) throw std::invalid_argument("an answer among the choices");
      items.push_back(std::move(item));
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      fail(ErrorKind::kFormat, "'{}' line {}: not what the task expects: {}", path.string(), n_line, e.what());
    }
  }
  return items;
}

}  // namespace hunch
