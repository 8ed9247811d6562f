// What `hunch help` and `hunch help VERB` print.
#pragma once
#include <string>
#include <vector>

#include "cli/grammar.h"
#include "cli/verb.h"

namespace hunch::cli {

// All verbs, a line each.
std::string overview(const std::vector<Verb>& all);
// One verb with its options and examples, at most 118 columns wide.
std::string help(const Verb& verb, const Grammar& grammar);

}  // namespace hunch::cli
