// What `hunch completion SHELL` prints: scripts that complete hunch's command line, generated from the grammars of its
// verbs. Names of models come from `hunch list --names` while the shell completes, short names are written in.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/verb_words.h"

namespace hunch::cli {

// What a shell offers for a value, as its name in the help says it.
enum class ValueKind {
  kWords,   // the option's choices
  kModel,   // MODEL: a file, a folder, a model of the cache, a short name
  kCached,  // ID: what the cache holds, or a short name
  kFile,
  kFolder,
  kOther,  // a number or a text: nothing to offer
};
ValueKind kind_of(const OptionHelp& option);
ValueKind kind_of_argument(std::string_view argument);

// For bash 3.2 and later, with or without the package bash-completion.
std::string bash_completion(std::span<const VerbWords> verbs);
std::string zsh_completion(std::span<const VerbWords> verbs);
std::string fish_completion(std::span<const VerbWords> verbs);

// `text` in single quotes, as bash, zsh and (with backslashes doubled) fish read them.
std::string shell_quoted(std::string_view text);

// The names of the verbs, and "help".
std::vector<std::string> first_words(std::span<const VerbWords> verbs);

}  // namespace hunch::cli
