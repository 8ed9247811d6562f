// What the three shells have in common, and the verb.
#include "cli/completion.h"

#include "base/error.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "io/printable.h"

namespace hunch::cli {

ValueKind kind_of_argument(std::string_view argument) {
  if (argument == "MODEL" || argument == "MODEL...") return ValueKind::kModel;
  if (argument == "ID") return ValueKind::kCached;
  if (argument.starts_with("FILE") || argument.starts_with("PATH")) return ValueKind::kFile;
  if (argument == "FOLDER") return ValueKind::kFolder;
  return ValueKind::kOther;
}

ValueKind kind_of(const OptionHelp& option) {
  return option.choices.empty() ? kind_of_argument(option.value) : ValueKind::kWords;
}

std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

std::vector<std::string> first_words(std::span<const VerbWords> verbs) {
  std::vector<std::string> words;
  for (const VerbWords& verb : verbs) words.emplace_back(verb.verb->name);
  words.emplace_back("help");
  return words;
}

int completion(const CompletionFlags& flags) {
  const std::vector<Verb> all = all_verbs();
  const std::vector<VerbWords> verbs = words_of(all);
  if (flags.shell == "bash") {
    print(bash_completion(verbs));
  } else if (flags.shell == "zsh") {
    print(zsh_completion(verbs));
  } else if (flags.shell == "fish") {
    print(fish_completion(verbs));
  } else {
    const std::vector<std::string> shells = {"bash", "zsh", "fish"};
    fail(ErrorKind::kUsage, "completion: expected bash, zsh or fish, found '{}'{}", printable(flags.shell),
         suggestion(flags.shell, shells));
  }
  return 0;
}

}  // namespace hunch::cli
