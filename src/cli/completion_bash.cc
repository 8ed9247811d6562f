#include <fmt/ranges.h>

#include "cli/completion.h"
#include "hub/short_names.h"
#include "hunch/version.h"

namespace hunch::cli {
namespace {

constexpr const char* kHead = "# bash completion of hunch " HUNCH_VERSION ", as `hunch completion bash` prints it.\n";

constexpr const char* kFunctions = R"sh(
# Appends to COMPREPLY the words of $1 (one a line) that begin with $2. What stands before the last ':' of it is no part
# of the word that bash replaces.
_hunch_offer() {
  local word done=
  [[ $2 == *:* && $COMP_WORDBREAKS == *:* ]] && done=${2%"${2##*:}"}
  while IFS= read -r word; do
    [[ -n $word && $word == "$2"* ]] && COMPREPLY+=("${word#"$done"}")
  done <<<"$1"
}
_hunch_files() {
  compopt -o filenames 2>/dev/null
  _hunch_offer "$(compgen "$1" -- "$2")" "$2"
}
_hunch_names() {
  _hunch_offer "$("$1" list --names 2>/dev/null)
$_hunch_known" "$2"
}

_hunch() {
  COMPREPLY=()
  local words=() word n=0 i cur prev verb kind='' values='' options='' argument=''
  # bash cuts at ':' and '=' too, which are parts of model names and of --option=value: those pieces are joined again.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if ((n > 1)) && [[ $word == [:=]* || ${words[n-1]} == *[:=] ]] &&
       ! [[ -z $word && ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]]; then
      words[n-1]+=$word
    else
      words[n++]=$word
    fi
  done
  cur=${words[n-1]} prev=${words[n-2]} verb=${words[1]}
  [[ $cur == --*=* ]] && prev=${cur%%=*} cur=${cur#*=}
  if ((n == 2)); then
    _hunch_offer "$_hunch_verbs" "$cur"
    return
  fi
  case $verb in
)sh";

constexpr const char* kTail = R"sh(  esac
  case $kind in
    words) _hunch_offer "$values" "$cur"; return ;;
    file) _hunch_files -f "$cur"; return ;;
    folder) _hunch_files -d "$cur"; return ;;
    model) _hunch_names "$1" "$cur"; _hunch_files -f "$cur"; return ;;
    other) return ;;
  esac
  # The argument mostly comes first; after it, options.
  if [[ $cur == -* || -z $argument ]] || { ((n > 3)) && [[ -z $cur ]]; }; then
    _hunch_offer "$options" "$cur"
  elif [[ $argument == words ]]; then
    _hunch_offer "$values" "$cur"
  elif [[ $argument != other ]]; then
    _hunch_names "$1" "$cur"
    [[ $argument == model ]] && _hunch_files -f "$cur"
  fi
  return 0
}
complete -F _hunch hunch
)sh";

const char* name_of(ValueKind kind) {
  switch (kind) {
    case ValueKind::kWords: return "words";
    case ValueKind::kModel: return "model";
    case ValueKind::kCached: return "cached";
    case ValueKind::kFile: return "file";
    case ValueKind::kFolder: return "folder";
    case ValueKind::kOther: break;
  }
  return "other";
}

// "-t|--threads"
std::string pattern(const OptionHelp& option) {
  return option.short_name.empty() ? option.long_name : option.short_name + "|" + option.long_name;
}

// Lines of one verb's branch.
std::string branch(const VerbWords& verb) {
  std::vector<std::string> options;
  std::string cases;
  std::vector<std::string> by_kind[6];
  for (const OptionHelp& option : verb.options) {
    options.push_back(option.long_name);
    if (option.value.empty()) continue;
    if (option.choices.empty()) {
      by_kind[size_t(kind_of(option))].push_back(pattern(option));
    } else {
      cases += fmt::format("        {}) kind=words values={} ;;\n", pattern(option),
                           shell_quoted(fmt::format("{}", fmt::join(option.choices, "\n"))));
    }
  }
  for (ValueKind kind : {ValueKind::kModel, ValueKind::kFile, ValueKind::kFolder, ValueKind::kOther})
    if (const auto& patterns = by_kind[size_t(kind)]; !patterns.empty())
      cases += fmt::format("        {}) kind={} ;;\n", fmt::join(patterns, "|"), name_of(kind));
  std::string out = fmt::format("    {})\n", verb.verb->name);
  if (!verb.arguments.empty())
    out += verb.arguments[0] == "SHELL"
               ? std::string("      argument=words values=$'bash\\nzsh\\nfish'\n")
               : fmt::format("      argument={}\n", name_of(kind_of_argument(verb.arguments[0])));
  out += fmt::format("      options={}\n", shell_quoted(fmt::format("{}", fmt::join(options, "\n"))));
  return out + "      case $prev in\n" + cases + "      esac\n      ;;\n";
}

}  // namespace

std::string bash_completion(std::span<const VerbWords> verbs) {
  std::string known;
  for (const ShortName& name : short_names()) known += (known.empty() ? "" : "\n") + std::string(name.name);
  const std::string words = fmt::format("{}", fmt::join(first_words(verbs), "\n"));
  std::string out = kHead;
  out += fmt::format("_hunch_verbs={}\n_hunch_known={}\n", shell_quoted(words + "\n--help\n--version"),
                     shell_quoted(known));
  out += kFunctions;
  for (const VerbWords& verb : verbs) out += branch(verb);
  out += "    help) argument=words values=$_hunch_verbs ;;\n";
  return out + kTail;
}

}  // namespace hunch::cli
