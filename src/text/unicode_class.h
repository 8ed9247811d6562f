// The character classes that tokenizers ask about outside regular expressions.
#pragma once
#include <cstdint>

namespace hunch {

// Unicode's White_Space property.
bool is_white_space(uint32_t code_point);
// A letter, mark, number or connector such as the underscore.
bool is_word_char(uint32_t code_point);
// As BERT has it: every ASCII character that is neither letter, digit nor white space, and Unicode's punctuation.
bool is_punctuation(uint32_t code_point);
// As BERT has it: Unicode's "other" (control, format, private, unassigned), but for tab, line feed and return.
bool is_control_char(uint32_t code_point);
// A combining mark that takes no room: an accent.
bool is_nonspacing_mark(uint32_t code_point);
// A Chinese character in the narrow sense: not Hangul, nor Japanese syllables.
bool is_chinese(uint32_t code_point);

}  // namespace hunch
