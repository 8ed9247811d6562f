// Text that streams to a terminal, broken between words.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace hunch::cli {

// Columns that a terminal gives this code point: 0, 1 or 2.
size_t columns_of(char32_t code_point);

// Every piece is shown at once. Where a word grows beyond the width, it is taken back from the end of its line and
// written on the next; one that is longer than a line is broken. Wide characters may stand at either side of a break,
// but for Korean ones, whose words have spaces between them. Control characters, which would command the terminal, are
// shown as U+FFFD, tabs as spaces.
class WordWrap {
 public:
  // A line is `width` columns, at least 2. One less than the terminal has: at its very edge the cursor is between
  // lines.
  explicit WordWrap(size_t width) : width_(width) {}

  // What the terminal is to be sent for these whole characters.
  std::string push(std::string_view text);
  size_t column() const { return column_; }

 private:
  void put(std::string& out, char32_t code_point);
  void end_line(std::string& out);
  void end_word();

  size_t width_, column_ = 0;
  std::string word_;  // the word that the line ends with, and its columns
  size_t word_columns_ = 0;
  bool joined_ = false;  // the next character belongs to the last one
};

}  // namespace hunch::cli
