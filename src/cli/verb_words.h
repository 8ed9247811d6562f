// A verb and everything that can be typed after it: for those who parse, show or complete the whole command line.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "cli/verb.h"

namespace hunch::cli {

struct VerbWords {
  const Verb* verb;                    // one of those that were asked for
  std::vector<std::string> arguments;  // without a name, in their order: "MODEL"
  std::vector<OptionHelp> options;
};

// The options of the verb and those that every verb has. Returns the verb's call; `wants_help` must outlive it.
std::function<int()> add_words(const Verb& verb, Grammar& grammar, bool& wants_help);

// Of each of them, in their order. `all` must outlive the result.
std::vector<VerbWords> words_of(const std::vector<Verb>& all);

}  // namespace hunch::cli
