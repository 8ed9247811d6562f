// How deep a JSON text nests, before it is parsed: values are copied and written by recursion, which has to end before
// the stack does.
#pragma once
#include <cstddef>
#include <string_view>

namespace hunch {

// Levels of brackets outside of texts; of what is no JSON too.
size_t json_depth(std::string_view text);

// What templates take of their variables.
constexpr size_t kMostJsonDepth = 100;

}  // namespace hunch
