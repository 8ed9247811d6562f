// Escapes in string literals of the template language.
#pragma once
#include <string>
#include <string_view>

namespace hunch::jinja {

// The value of a literal, given what stands between its quotes: Python's escapes (\n, \x41, \u00e9,
// \U0001f600, octal, escaped line end); an unknown escape keeps its backslash. A pair of surrogates
// becomes the one character that it means. Throws Fault for a numeric escape with too few digits.
std::string decode_string_literal(std::string_view body);

}  // namespace hunch::jinja
