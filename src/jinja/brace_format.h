// Python's text.format(...).
#pragma once
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace hunch::jinja {

// Replaces {}, {0}, {name}, {name.key}, {0[1]} with optional conversion (!r, !s) and format (:>8.2f)
// by the arguments; {{ and }} stand for braces. Throws Fault.
std::string brace_format(Heap& heap, std::string_view text, const CallArgs& args);

}  // namespace hunch::jinja
