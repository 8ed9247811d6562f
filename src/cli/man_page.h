// The manual page, generated from the grammars of the verbs.
#pragma once
#include <span>
#include <string>

#include "cli/verb_words.h"

namespace hunch::cli {

// As roff with the macros of man(7). A group of options that several verbs have word for word stands under the first of
// them; the others say so.
std::string man_page(std::span<const VerbWords> verbs);

}  // namespace hunch::cli
