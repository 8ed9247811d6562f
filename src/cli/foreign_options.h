// Options that people bring along from llama.cpp: understood where hunch has the same under another name, explained
// where it has no need of them or does not do it.
#pragma once
#include <string>
#include <vector>

#include "cli/grammar.h"

namespace hunch::cli {

struct Translation {
  std::vector<std::string> words;  // in hunch's own options, MODEL first where it was an option
  std::vector<std::string> notes;  // what was left out, and why
};

// A verb's words. What `grammar` knows itself is left alone. Throws Error{kUsage} for an option of which leaving it out
// would change the answer, with the way that there is.
Translation from_llama_cpp(const std::vector<std::string>& words, const Grammar& grammar);

}  // namespace hunch::cli
