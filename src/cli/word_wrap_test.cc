#include "cli/word_wrap.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "text/utf8.h"

namespace hunch::cli {
namespace {

// A terminal that knows what WordWrap sends: text, line ends, "back n columns", "clear to the end of the line".
class Screen {
 public:
  void write(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
      if (text[i] == '\033') {
        const size_t end = text.find_first_of("DK", i);
        ASSERT_NE(end, text.npos);
        if (text[end] == 'K') {
          row().resize(column_);
        } else {
          const size_t n = size_t(std::atoi(std::string(text.substr(i + 2, end)).c_str()));
          ASSERT_LE(n, column_) << "back beyond the beginning of the line";
          column_ -= n;
        }
        i = end + 1;
        continue;
      }
      const Utf8Step step = utf8_step(text, i);
      const std::string c(text.substr(i, step.n_bytes));
      i += step.n_bytes;
      if (c == "\n") {
        rows_.emplace_back();
        column_ = 0;
        continue;
      }
      const size_t n = columns_of(step.code_point);
      if (n == 0 && column_) {
        row()[column_ - 1] += c;
        continue;
      }
      row().resize(column_ + n);
      row()[column_] = c;  // the second half of a wide character is empty
      column_ += n;
    }
  }
  std::vector<std::string> rows() const {
    std::vector<std::string> out;
    for (const auto& cells : rows_) {
      std::string& row = out.emplace_back();
      for (const std::string& cell : cells) row += cell;
      row.erase(row.find_last_not_of(' ') + 1);
    }
    return out;
  }
  size_t widest() const {
    size_t n = 0;
    for (const auto& cells : rows_) n = std::max(n, cells.size());
    return n;
  }

 private:
  std::vector<std::string>& row() { return rows_.back(); }
  std::vector<std::vector<std::string>> rows_{1};
  size_t column_ = 0;
};

// The rows of a screen after `text` came in pieces of n characters; that they do not depend on n is checked.
std::vector<std::string> wrapped(size_t width, const std::string& text) {
  std::vector<std::string> first;
  for (size_t n : {size_t(1), size_t(3), text.size() + 1}) {
    WordWrap wrap(width);
    Screen screen;
    for (size_t i = 0; i < text.size();) {
      size_t end = i;
      for (size_t k = 0; k < n && end < text.size(); ++k) end += utf8_step(text, end).n_bytes;
      screen.write(wrap.push(std::string_view(text).substr(i, end - i)));
      i = end;
    }
    EXPECT_LE(screen.widest(), width);
    if (first.empty()) first = screen.rows();
    EXPECT_EQ(screen.rows(), first) << "in pieces of " << n;
  }
  return first;
}
using Rows = std::vector<std::string>;

TEST(WordWrap, BreaksBetweenWords) {
  EXPECT_EQ(wrapped(10, "one two three four"), (Rows{"one two", "three four"}));
  EXPECT_EQ(wrapped(11, "one two three four"), (Rows{"one two", "three four"}));
  EXPECT_EQ(wrapped(13, "one two three four"), (Rows{"one two three", "four"}));
  EXPECT_EQ(wrapped(7, "one two  three"), (Rows{"one two", "three"}));
}

TEST(WordWrap, KeepsLinesAndWhatTheyBeginWith) {
  EXPECT_EQ(wrapped(12, "a:\n\n  - one two three\n  - x"), (Rows{"a:", "", "  - one two", "three", "  - x"}));
  EXPECT_EQ(wrapped(12, "\tx y"), (Rows{"        x y"}));
  EXPECT_EQ(wrapped(7, "one two\nx"), (Rows{"one two", "x"}));
}

TEST(WordWrap, ALongWordIsBroken) {
  EXPECT_EQ(wrapped(5, "abcdefghijkl mn"), (Rows{"abcde", "fghij", "kl mn"}));
  EXPECT_EQ(wrapped(5, "x abcdefgh"), (Rows{"x", "abcde", "fgh"}));
}

TEST(WordWrap, AWordIsShownBeforeItEnds) {
  WordWrap wrap(10);
  EXPECT_EQ(wrap.push("unfin"), "unfin");
  EXPECT_EQ(wrap.column(), 5u);
}

TEST(WordWrap, WideCharactersHaveTwoColumnsAndBreakAnywhere) {
  EXPECT_EQ(wrapped(5, "日本語の本"), (Rows{"日本", "語の", "本"}));
  EXPECT_EQ(wrapped(8, "go 日本語 ok"), (Rows{"go 日本", "語 ok"}));
  EXPECT_EQ(wrapped(7, "xx go日本語"), (Rows{"xx go日", "本語"}));
  EXPECT_EQ(wrapped(9, "한국어 단어들"), (Rows{"한국어", "단어들"}));
  EXPECT_EQ(wrapped(5, " 한국어"), (Rows{" 한국", "어"}));
}

TEST(WordWrap, MarksAndJoinedPicturesHaveNoColumnOfTheirOwn) {
  EXPECT_EQ(wrapped(3, "e\u0301e\u0301e\u0301 x"), (Rows{"e\u0301e\u0301e\u0301", "x"}));
  WordWrap wrap(10);
  wrap.push("👩\u200d💻ab");
  EXPECT_EQ(wrap.column(), 4u);
}

TEST(WordWrap, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(WordWrap(20).push("a\033[2Jb\r\n\xc2\x9b"), "a\ufffd[2Jb\n\ufffd");
}

}  // namespace
}  // namespace hunch::cli
