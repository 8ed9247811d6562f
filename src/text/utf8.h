// UTF-8 by hand: one step at a time, never trusting the bytes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace hunch {

struct Utf8Step {
  enum class Status { kValid, kInvalid, kIncomplete };
  Status status = Status::kInvalid;
  uint32_t code_point = 0;  // where valid
  size_t n_bytes = 1;       // of the character; or of the part that cannot be, or is not yet, a character
};

// Looks at the character that begins at text[i], i < text.size(). Surrogates, overlong forms and code
// points above U+10FFFF are invalid; a proper beginning cut off by the end of the text is incomplete.
// n_bytes of an invalid sequence follows the Unicode standard's "maximal subpart" practice (section 3.9).
Utf8Step utf8_step(std::string_view text, size_t i);

// Appends the code point's bytes; `code_point` is a Unicode scalar value.
void append_utf8(std::string& out, uint32_t code_point);

// The number of bytes of the longest valid prefix.
size_t valid_utf8_prefix(std::string_view text);

// The text with every invalid or incomplete sequence as U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

}  // namespace hunch
