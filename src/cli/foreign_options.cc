#include "cli/foreign_options.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "cli/llama_cpp_options.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

// What the table says of it, or, where that is an option which this verb has not, what it says next; the former where
// it says no more.
const Foreign* find(std::string_view name, const Grammar& grammar) {
  const Foreign* found = nullptr;
  for (const Foreign& f : options_of_llama_cpp()) {
    if (std::ranges::find(f.names, name) == f.names.end()) continue;
    if (f.fate != Fate::kSame || grammar.has(f.text)) return &f;
    if (!found) found = &f;
  }
  return found;
}

bool is_value(const Foreign& option, const std::string& word) {
  if (!option.values.empty()) return std::ranges::find(option.values, word) != option.values.end();
  return word.empty() || word[0] != '-' || (word.size() > 1 && word[1] >= '0' && word[1] <= '9');
}

}  // namespace

Translation from_llama_cpp(const std::vector<std::string>& words, const Grammar& grammar) {
  Translation out;
  std::optional<std::string> model;
  std::map<std::string, std::string> translated;  // what was said under other names
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      out.words.insert(out.words.end(), words.begin() + ptrdiff_t(i), words.end());
      break;
    }
    const size_t equals = word.starts_with("--") ? word.find('=') : word.npos;
    const std::string name = word.substr(0, equals);
    const Foreign* foreign = name.starts_with('-') && !grammar.has(name) ? find(name, grammar) : nullptr;
    if (!foreign) {
      out.words.push_back(word);
      if (name.starts_with('-') && grammar.takes_value(name) && equals == word.npos && i + 1 < words.size())
        out.words.push_back(words[++i]);  // whatever it looks like
      continue;
    }
    if (foreign->fate == Fate::kRefuse) fail(ErrorKind::kUsage, "{}: {}", name, foreign->text);
    std::optional<std::string> value;
    if (equals != word.npos) {
      value = word.substr(equals + 1);
    } else if (foreign->fate != Fate::kDropFlag &&
               (foreign->fate != Fate::kSame || grammar.takes_value(foreign->text)) && i + 1 < words.size() &&
               is_value(*foreign, words[i + 1])) {
      value = words[++i];
    }
    switch (foreign->fate) {
      case Fate::kSame: {
        const auto [said, is_new] = translated.try_emplace(foreign->text, value.value_or(""));
        if (!is_new && said->second != value.value_or(""))
          fail(ErrorKind::kUsage, "{} says '{}' where '{}' was said before: both are {} here", name,
               printable(value.value_or("")), printable(said->second), foreign->text);
        if (is_new) out.words.push_back(value ? fmt::format("{}={}", foreign->text, *value) : foreign->text);
        break;
      }
      case Fate::kModel:
        if (!value) fail(ErrorKind::kUsage, "{} names no model", name);
        model = value;
        break;
      case Fate::kDrop:
      case Fate::kDropFlag: out.notes.push_back(fmt::format("{} is left out: {}", name, foreign->text)); break;
      case Fate::kRefuse: break;
    }
  }
  if (model) out.words.insert(out.words.begin(), *model);
  return out;
}

}  // namespace hunch::cli
