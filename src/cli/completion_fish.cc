#include <fmt/ranges.h>

#include "cli/completion.h"
#include "hub/short_names.h"
#include "hunch/version.h"

namespace hunch::cli {
namespace {

constexpr const char* kHead = R"(# fish completion of hunch )" HUNCH_VERSION R"(, as `hunch completion fish` prints it.

# Whether the verb, the second word of the line, is one of these.
function __hunch_verb
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end
function __hunch_no_verb
    test (count (commandline -opc)) -eq 1
end
function __hunch_names
    hunch list --names 2>/dev/null
)";

// fish also takes a backslash in single quotes for an escape.
std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string line(const VerbWords& verb, const OptionHelp& option) {
  std::string out =
      fmt::format("complete -c hunch -n '__hunch_verb {}' -l {}", verb.verb->name, option.long_name.substr(2));
  if (!option.short_name.empty()) out += " -s " + option.short_name.substr(1);
  if (!option.value.empty()) {
    switch (kind_of(option)) {
      case ValueKind::kWords: out += " -x -a " + fish_quoted(fmt::format("{}", fmt::join(option.choices, " "))); break;
      case ValueKind::kModel: out += " -r -F -a '(__hunch_names)'"; break;
      case ValueKind::kCached: out += " -x -a '(__hunch_names)'"; break;
      case ValueKind::kFile: out += " -r -F"; break;
      case ValueKind::kFolder: out += " -x -a '(__fish_complete_directories)'"; break;
      case ValueKind::kOther: out += " -x"; break;
    }
  }
  return out + " -d " + fish_quoted(option.help) + "\n";
}

std::string argument_line(const VerbWords& verb) {
  const std::string start = fmt::format("complete -c hunch -n '__hunch_verb {}' ", verb.verb->name);
  if (verb.arguments.empty()) return "";
  if (verb.arguments[0] == "SHELL") return start + "-f -a 'bash zsh fish'\n";
  switch (kind_of_argument(verb.arguments[0])) {
    case ValueKind::kModel: return start + "-F -a '(__hunch_names)'\n";
    case ValueKind::kCached: return start + "-f -a '(__hunch_names)'\n";
    default: return "";
  }
}

}  // namespace

std::string fish_completion(std::span<const VerbWords> verbs) {
  std::string out = kHead;
  out += "    printf '%s\\n'";
  for (const ShortName& name : short_names()) out += fmt::format(" {}", name.name);
  out += "\nend\n\ncomplete -c hunch -f\n";
  for (const VerbWords& verb : verbs)
    out += fmt::format("complete -c hunch -n __hunch_no_verb -a {} -d {}\n", verb.verb->name,
                       fish_quoted(verb.verb->summary));
  out += "complete -c hunch -n __hunch_no_verb -a help -d 'a verb and its options'\n";
  out += fmt::format("complete -c hunch -n '__hunch_verb help' -a '{}'\n", fmt::join(first_words(verbs), " "));
  for (const VerbWords& verb : verbs) {
    out += "\n" + argument_line(verb);
    for (const OptionHelp& option : verb.options) out += line(verb, option);
  }
  return out;
}

}  // namespace hunch::cli
