// Text as Python sees it: strings are sequences of code points. Bytes that are not UTF-8 count as
// one code point each and pass through unchanged.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hunch::jinja {

struct CodePoint {
  int32_t value = -1;  // -1: a byte that is not UTF-8
  size_t n_bytes = 1;
};

// The code point that begins at byte `at` < text.size().
CodePoint decode_at(std::string_view text, size_t at);
// Appends the UTF-8 form of `value`; U+FFFD for what is no Unicode scalar value.
void append_utf8(int32_t value, std::string& out);
size_t n_code_points(std::string_view text);
// The code points as views into `text`.
std::vector<std::string_view> characters(std::string_view text);

// Predicates as those of Python's str; false for -1.
bool is_space(int32_t c);
bool is_alpha(int32_t c);
bool is_digit(int32_t c);    // decimal digits of any script
bool is_numeric(int32_t c);  // digits, letters that are numbers, fractions
bool is_upper(int32_t c);
bool is_lower(int32_t c);
bool is_printable(int32_t c);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string swap_case(std::string_view text);
// First character in upper case, the others in lower case.
std::string capitalize(std::string_view text);
// Each run of letters capitalised.
std::string title_case(std::string_view text);

// Without white space (or, with `chars`, without any of these characters) at the left / right end.
std::string_view strip(std::string_view text, bool left = true, bool right = true, const std::string* chars = nullptr);
// Split at the line ends that Python knows, the ends left out.
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);

}  // namespace hunch::jinja
