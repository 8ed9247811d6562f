// The number at the end of a worked answer, as GSM8K is scored (lm-evaluation-harness, gsm8k.yaml version 3).
#pragma once
#include <string>
#include <string_view>

namespace hunch {

// What is taken from an answer that has no number.
inline constexpr std::string_view kNoNumber = "[invalid]";

// The number after the first "#### ": `#### (\-?[0-9\.\,]+)`.
std::string strict_number(std::string_view answer);
// The last number, with its "$" and what else looks like it: `(-?[$0-9.,]{2,})|(-?[0-9]+)`.
std::string last_number(std::string_view answer);
// Whether both are the same text without commas, "$", all up to the last "#### ", one full stop at the end, and case.
bool same_number(std::string_view found, std::string_view published);

}  // namespace hunch
