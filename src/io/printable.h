// Names from files and from people, made fit for a message: what would command a terminal escaped, long ones cut.
#pragma once
#include <string>
#include <string_view>

namespace hunch {

// At most `max_chars` bytes of `text`, whole characters. Control characters, characters that are seen only by what they
// do to others (marks of direction, joiners, line separators) and bytes that are not UTF-8 come out as \xNN.
std::string printable(std::string_view text, size_t max_chars = 100);

}  // namespace hunch
