// Regular expressions, as programs write them (Perl's and JavaScript's common part), made expressions of a grammar.
#pragma once
#include <functional>
#include <string_view>

#include "grammar/expression.h"

namespace hunch::grammar {

struct RegexOptions {
  // Matches anywhere in the text unless ^ and $ say otherwise (JSON schema's "pattern"); false: the whole text.
  bool searches = false;
  // How a set of characters is written in the text: by itself, or as JSON's texts escape it.
  std::function<Expr(const CharSet&)> spell = [](const CharSet& set) { return chars(set); };
};

// Groups, classes, \d \w \s and their opposites (of ASCII), ., quantifiers, lazy ones too, alternatives; ^ and $ at the
// ends of an alternative. Throws Error{kUsage} naming what it does not hold: look-around, back references, \b, \p{...},
// flags; and what is no regular expression.
Expr parse_regex(std::string_view pattern, const RegexOptions& options = {});

}  // namespace hunch::grammar
