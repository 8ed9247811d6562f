#include "measure/task_items.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "io/printable.h"
#include "jinja/unicode.h"

namespace hunch {
namespace {

using Json = nlohmann::json;
using Strings = std::vector<std::string>;

template <class... Args>
[[noreturn]] void unexpected(fmt::format_string<Args...> format, Args&&... args) {
  throw std::invalid_argument(fmt::format(format, std::forward<Args>(args)...));
}

std::string text_of(const Json& json, const char* key) { return json.at(key).get<std::string>(); }

// One context, several continuations, each after a space.
TaskItem choices(const std::string& context, const Strings& options, size_t gold) {
  TaskItem item;
  for (const std::string& option : options) {
    item.contexts.push_back(context);
    item.continuations.push_back(" " + option);
  }
  item.gold = gold;
  return item;
}

// 3, "3" or, of a question with two answers, true.
size_t label_of(const Json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer() && json.get<int64_t>() >= 0) return json.get<size_t>();
  if (json.is_string()) {
    const auto text = json.get<std::string>();
    if (text.size() == 1 && text[0] >= '0' && text[0] <= '9') return size_t(text[0] - '0');
  }
  unexpected("the number of the right answer, found {}", printable(json.dump()));
}

std::string lower_first(const std::string& text) {
  const size_t n = text.empty() ? 0 : jinja::decode_at(text, 0).n_bytes;
  return jinja::to_lower(text.substr(0, n)) + text.substr(n);
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

// The harness's preprocess(): WikiHow's titles and other brackets go.
std::string without_brackets(std::string_view raw) {
  const std::string text = replace_all(std::string(jinja::strip(raw)), " [title]", ". ");
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text[at] == '[' ? text.find_first_of("]\n", at) : text.npos;
    if (end != text.npos && text[end] == ']') {
      at = end + 1;
    } else {
      out += text[at++];
    }
  }
  return replace_all(out, "  ", " ");
}

TaskItem hellaswag(const Json& j) {
  Strings endings;
  for (const Json& ending : j.at("endings")) endings.push_back(without_brackets(ending.get<std::string>()));
  const std::string context =
      text_of(j, "activity_label") + ": " + text_of(j, "ctx_a") + " " + jinja::capitalize(text_of(j, "ctx_b"));
  return choices(without_brackets(context), endings, label_of(j.at("label")));
}

// The harness's choices begin with a space themselves, so two stand before each.
TaskItem copa(const Json& j) {
  const std::string relation = text_of(j, "question"), text = text_of(j, "premise");
  if (relation != "cause" && relation != "effect")
    unexpected("the question 'cause' or 'effect', found '{}'", printable(relation));
  std::vector<std::string_view> premise = jinja::characters(jinja::strip(text));
  if (!premise.empty()) premise.pop_back();  // a full stop
  const auto option = [&](const char* key) { return " " + lower_first(text_of(j, key)); };
  return choices(fmt::format("{}", fmt::join(premise, "")) + (relation == "cause" ? " because" : " therefore"),
                 {option("choice1"), option("choice2")}, label_of(j.at("label")));
}

// The choices of ARC and OpenBookQA, as the Allen Institute and as the datasets library write them.
TaskItem labelled(const Json& j, const char* stem_key, const char* before, const char* after) {
  const Json& question = j.contains(stem_key) ? j.at(stem_key) : j.at("question");
  const bool nested = question.is_object();
  Strings options, labels;
  if (nested) {
    for (const Json& choice : question.at("choices")) {
      options.push_back(text_of(choice, "text"));
      labels.push_back(text_of(choice, "label"));
    }
  } else {
    options = j.at("choices").at("text").get<Strings>();
    labels = j.at("choices").at("label").get<Strings>();
  }
  const std::string key(jinja::strip(text_of(j, "answerKey")));
  const auto gold = std::ranges::find(labels, key);
  if (gold == labels.end())
    unexpected("an answerKey among {}, found '{}'", printable(fmt::format("{}", fmt::join(labels, ", "))),
               printable(key));
  const std::string stem = nested ? text_of(question, "stem") : question.get<std::string>();
  return choices(before + stem + after, options, size_t(gold - labels.begin()));
}

// Partial scoring (Trinh and Le 2018): the option is in the context, the rest is scored.
TaskItem winogrande(const Json& j) {
  const std::string sentence = text_of(j, "sentence"), answer = text_of(j, "answer");
  const size_t gap = sentence.find('_');
  if (gap == sentence.npos) unexpected("a sentence with '_'");
  if (answer != "1" && answer != "2") unexpected("an answer 1 or 2, found '{}'", printable(answer));
  const std::string before = sentence.substr(0, gap), after = " " + std::string(jinja::strip(sentence.substr(gap + 1)));
  return {{before + text_of(j, "option1"), before + text_of(j, "option2")}, {after, after}, answer == "2"};
}

TaskItem boolq(const Json& j) {
  const Json& label = j.contains("label") ? j.at("label") : j.at("answer");
  return choices(text_of(j, "passage") + "\nQuestion: " + text_of(j, "question") + "?\nAnswer:", {"no", "yes"},
                 label_of(label));
}

TaskItem rte(const std::string& premise, const std::string& hypothesis, const std::string& label) {
  if (label != "entailment" && label != "not_entailment" && label != "0" && label != "1")
    unexpected("a label entailment (0) or not_entailment (1), found '{}'", printable(label));
  return choices(premise + "\nQuestion: " + hypothesis + " True or False?\nAnswer:", {"True", "False"},
                 label == "1" || label == "not_entailment");
}

TaskItem rte(const Json& j) {
  const bool glue = j.contains("sentence1");
  const Json& label = j.at("label");
  return rte(text_of(j, glue ? "sentence1" : "premise"), text_of(j, glue ? "sentence2" : "hypothesis"),
             label.is_string() ? label.get<std::string>() : label.dump());
}

// "(A) make more (B) quit" -> {"make more", "quit"}
Strings lettered(const std::string& text) {
  Strings options;
  for (size_t at = text.find("(A)"), letter = 0; at != text.npos; ++letter) {
    const size_t next = text.find(std::string("(") + char('B' + letter) + ")", at);
    options.emplace_back(jinja::strip(std::string_view(text).substr(at + 3, next == text.npos ? next : next - at - 3)));
    at = next;
  }
  return options;
}

}  // namespace

TaskItem item_from_json(Task task, const Json& j, std::optional<size_t> label) {
  const bool prepared = j.contains("query");  // "query", "choices" and "gold": nothing is left to do
  if (prepared && task != Task::kArcEasy && task != Task::kArcChallenge)
    return choices(text_of(j, "query"), j.at("choices").get<Strings>(), label_of(j.at("gold")));
  switch (task) {
    case Task::kLambada: return item_from_text(text_of(j, "text"));
    case Task::kHellaSwag: return hellaswag(j);
    case Task::kPiqa:
      return choices("Question: " + text_of(j, "goal") + "\nAnswer:", {text_of(j, "sol1"), text_of(j, "sol2")},
                     label ? *label : label_of(j.at("label")));
    case Task::kArcEasy:
    case Task::kArcChallenge: {
      if (!prepared) return labelled(j, "question", "Question: ", "\nAnswer:");
      std::string query = text_of(j, "query");
      if (!query.ends_with("Answer:")) query += "\nAnswer:";
      return choices(query, j.at("choices").get<Strings>(), label_of(j.at("gold")));
    }
    case Task::kWinoGrande: return winogrande(j);
    case Task::kBoolQ: return boolq(j);
    case Task::kCopa: return copa(j);
    case Task::kOpenBookQa: return labelled(j, "question_stem", "", "");
    case Task::kRte: return rte(j);
    case Task::kMmlu: unexpected("records of comma-separated values");
    case Task::kGsm8k: {
      const std::string answer = text_of(j, "answer");
      if (answer.find("#### ") == answer.npos) unexpected("an answer that ends with '#### ' and a number");
      return {{"Question: " + text_of(j, "question") + "\nAnswer:"}, {}, 0, answer};
    }
  }
  unexpected("a task with JSON objects");
}

TaskItem item_from_text(const std::string& text) {
  const size_t space = text.rfind(' ');
  if (space == text.npos) unexpected("a text of at least two words");
  return {{text.substr(0, space)}, {text.substr(space)}, 0};
}

TaskItem item_from_fields(Task task, std::span<const std::string> headings, std::span<const std::string> fields) {
  const auto field = [&](const char* heading) -> const std::string& {
    const size_t i = size_t(std::ranges::find(headings, heading) - headings.begin());
    if (i == headings.size()) unexpected("a first line with the heading '{}'", heading);
    if (i >= fields.size()) unexpected("{} fields, found {}", headings.size(), fields.size());
    return fields[i];
  };
  if (task == Task::kRte) return rte(field("sentence1"), field("sentence2"), field("label"));
  const Strings options = lettered(field("Choices"));
  const std::string& key = field("Answer Key");
  if (key.size() != 1 || key[0] < 'A' || size_t(key[0] - 'A') >= options.size())
    unexpected("an answer key among {} choices, found '{}'", options.size(), printable(key));
  return choices(field("Question Stem"), options, size_t(key[0] - 'A'));
}

TaskItem item_from_record(std::span<const std::string> fields, const std::string& subject) {
  if (fields.size() != 6) unexpected("6 fields (question, A, B, C, D, answer), found {}", fields.size());
  const std::string& key = fields[5];
  if (key.size() != 1 || key[0] < 'A' || key[0] > 'D') unexpected("an answer A, B, C or D, found '{}'", printable(key));
  std::string context(jinja::strip(fields[0]));
  for (size_t i = 1; i < 5; ++i) context += fmt::format("\n{}. {}", char('A' + i - 1), fields[i]);
  TaskItem item = choices(context + "\nAnswer:", {"A", "B", "C", "D"}, size_t(key[0] - 'A'));
  item.subject = subject;
  return item;
}

std::string solved(Task task, const TaskItem& item) {
  switch (scoring_of(task)) {
    case Scoring::kChoice: break;
    // The harness puts a space before every answer, also before this one, which has its own.
    case Scoring::kLastWord: return item.contexts[0] + " " + item.continuations[0];
    case Scoring::kNumber: return item.contexts[0] + " " + item.answer;
  }
  return item.contexts[item.gold] + item.continuations[item.gold];
}

std::string description_of(const std::string& subject) {
  return "The following are multiple choice questions (with answers) about " + replace_all(subject, "_", " ") + ".\n\n";
}

}  // namespace hunch
