#include <fmt/ranges.h>

#include "cli/completion.h"
#include "hub/short_names.h"
#include "hunch/version.h"

namespace hunch::cli {
namespace {

constexpr const char* kTail = R"(  esac
}

if [[ $funcstack[1] == _hunch ]]; then
  _hunch "$@"  # found by its file's name
else
  compdef _hunch hunch  # sourced
fi
)";

// In an option's [explanation], as _arguments reads it.
std::string explanation(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '[' || c == ']' || c == '\\' || c == ':') out += '\\';
    out += c;
  }
  return out;
}

// ":message:action" of a value.
std::string action(const std::string& value, ValueKind kind, const std::vector<std::string>& choices) {
  const std::string message = ":" + explanation(value) + ":";
  switch (kind) {
    case ValueKind::kWords: return fmt::format("{}({})", message, fmt::join(choices, " "));
    case ValueKind::kModel: return message + "_hunch_models";
    case ValueKind::kCached: return message + "_hunch_names";
    case ValueKind::kFile: return message + "_files";
    case ValueKind::kFolder: return message + "_files -/";
    case ValueKind::kOther: break;
  }
  return message + " ";
}

std::string spec(const OptionHelp& o) {
  const std::string help = "[" + explanation(o.help) + "]";
  const std::string value = o.value.empty() ? "" : action(o.choices.empty() ? o.value : "value", kind_of(o), o.choices);
  const std::string star = o.repeats ? "*" : "";
  const std::string long_form = o.long_name + (o.value.empty() ? "" : "=");
  if (o.short_name.empty()) return shell_quoted(star + long_form + help + value);
  const std::string both = o.repeats ? "*" : fmt::format("({} {})", o.short_name, o.long_name);
  return shell_quoted(both + o.short_name + (o.value.empty() ? "" : "+") + help + value) + " " +
         shell_quoted(both + long_form + help + value);
}

}  // namespace

std::string zsh_completion(std::span<const VerbWords> verbs) {
  std::string out = "#compdef hunch\n# zsh completion of hunch " HUNCH_VERSION
                    ", as `hunch completion zsh` prints it.\n\n_hunch_names() {\n  local -a names\n"
                    "  names=(${(f)\"$($hunch list --names 2>/dev/null)\"}";
  for (const ShortName& name : short_names()) out += fmt::format(" {}", name.name);
  out +=
      ")\n  compadd -M 'r:|[:/-]=*' -a names\n}\n_hunch_models() {\n  _hunch_names\n  _files\n}\n\n"
      "_hunch() {\n  local hunch=$words[1]\n  local -a verbs\n  verbs=(\n";
  for (const VerbWords& verb : verbs)
    out += "    " + shell_quoted(fmt::format("{}:{}", verb.verb->name, explanation(verb.verb->summary))) + "\n";
  out +=
      "    'help:a verb and its options'\n  )\n  if (( CURRENT == 2 )); then\n    _describe verb verbs\n    return\n  "
      "fi\n"
      "  shift words\n  (( CURRENT-- ))\n  case $words[1] in\n    help) _describe verb verbs ;;\n";
  for (const VerbWords& verb : verbs) {
    out += fmt::format("    {})\n      _arguments -s -S", verb.verb->name);
    for (const OptionHelp& option : verb.options) out += " \\\n        " + spec(option);
    for (const std::string& argument : verb.arguments)
      out += " \\\n        " + (argument == "SHELL" ? shell_quoted("1:shell:(bash zsh fish)")
                                                    : shell_quoted((argument.ends_with("...") ? "*:" : ":") +
                                                                   action(argument, kind_of_argument(argument), {})));
    out += "\n      ;;\n";
  }
  return out + kTail;
}

}  // namespace hunch::cli
