// Tokens to syntax tree.
#pragma once
#include <vector>

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace hunch::jinja {

// Parses a whole template. Tags that need other files (include, import, extends, block) are refused
// by name. Nesting is bounded, so that hostile input cannot exhaust the stack. Throws SyntaxFault.
Ast parse(std::vector<Token> tokens);

}  // namespace hunch::jinja
