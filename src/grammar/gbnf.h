// llama.cpp's notation of grammars (GBNF): rules `name ::= ...`, of which "root" is the whole.
#pragma once
#include <string_view>

#include "grammar/expression.h"

namespace hunch::grammar {

// "text", [classes], ., names, groups, alternatives, * + ? {n,m}, # comments. Throws Error{kUsage} naming the line.
Rules parse_gbnf(std::string_view text);

}  // namespace hunch::grammar
