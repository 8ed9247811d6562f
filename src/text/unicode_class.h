// The two character classes that tokenizers ask about outside regular expressions.
#pragma once
#include <cstdint>

namespace hunch {

// Unicode's White_Space property.
bool is_white_space(uint32_t code_point);
// A letter, mark, number or connector such as the underscore.
bool is_word_char(uint32_t code_point);

}  // namespace hunch
