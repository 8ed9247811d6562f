// Operations on text that both methods and filters offer.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "jinja/value.h"

namespace hunch::jinja {

// Splits at `separator`, or at runs of white space where it is null, at most max_splits times
// (negative: no limit), from the right if asked. Throws Fault for an empty separator.
std::vector<std::string_view> split_text(std::string_view text, const std::string* separator, Int max_splits,
                                         bool from_right);
// With the first max_count (negative: all) occurrences of `from` replaced. An empty `from` stands
// before every character and at the end.
std::string replace_text(std::string_view text, std::string_view from, std::string_view to, Int max_count);
// Padded to `width` characters: align -1 at the left, 0 in the middle, 1 at the right.
std::string justify_text(std::string_view text, Int width, std::string_view fill, int align);
// True when there is a cased character and all cased ones are upper (lower) case.
bool all_cased_upper(std::string_view text);
bool all_cased_lower(std::string_view text);
// Each line but the first (unless `first`) begins with `indention`; empty lines only if `blank`.
std::string indent_text(std::string_view text, std::string_view indention, bool first, bool blank);
// & < > " ' as character references.
std::string escape_html(std::string_view text);
// Without comments and tags, runs of white space as one space.
std::string strip_tags(std::string_view text);
std::string percent_encode(std::string_view text, std::string_view safe);

}  // namespace hunch::jinja
