// A verb: what the overview and the help say of it, its grammar, and the call. The table of all verbs.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "cli/grammar.h"

namespace hunch::cli {

struct Verb {
  const char* name;
  const char* group;
  const char* summary;
  const char* arguments;  // after the verb, in the usage line
  const char* examples;   // lines, each with its line end
  // Adds the options, all of them bound to flags that the result keeps; the result runs the verb.
  std::function<std::function<int()>(Grammar&)> add;
};

// The call of a verb that needs a model.
template <class Flags>
std::function<int()> bind(std::shared_ptr<Flags> flags, int (*verb)(const Flags&)) {
  return [flags, verb] {
    if (flags->model.model.empty())
      fail(ErrorKind::kUsage,
           "which model? expected a GGUF file, a Hugging Face folder, a hub id or a short name after the verb");
    return verb(*flags);
  };
}

// One per group of the overview: verbs_GROUP.cc.
std::vector<Verb> generating_verbs();
std::vector<Verb> serving_verbs();
std::vector<Verb> comparing_verbs();
std::vector<Verb> looking_verbs();
std::vector<Verb> measuring_verbs();
std::vector<Verb> changing_verbs();
std::vector<Verb> training_verbs();
std::vector<Verb> cache_verbs();  // and fetching
std::vector<Verb> shell_verbs();

// All of them, in the order of the overview.
std::vector<Verb> all_verbs();

}  // namespace hunch::cli
