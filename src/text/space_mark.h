// U+2581, which stands for a space in SentencePiece vocabularies.
#pragma once
#include <string>
#include <string_view>

namespace hunch {

inline constexpr std::string_view kSpaceMark = "\xe2\x96\x81";

// Every space as a mark.
std::string to_space_marks(std::string_view text);

// Every mark as a space.
std::string from_space_marks(std::string_view text);

}  // namespace hunch
