#include "cli/word_wrap.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

#include "text/utf8.h"

namespace hunch::cli {
namespace {

constexpr char32_t kJoiner = 0x200d;  // makes one picture of two

bool is_korean(char32_t c) { return (c >= 0x1100 && c < 0x1200) || (c >= 0xac00 && c < 0xd7a4); }

}  // namespace

size_t columns_of(char32_t code_point) {
  return size_t(std::clamp(utf8proc_charwidth(utf8proc_int32_t(code_point)), 0, 2));
}

std::string WordWrap::push(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    i += step.n_bytes;
    put(out, step.status == Utf8Step::Status::kValid ? char32_t(step.code_point) : char32_t(0xfffd));
  }
  return out;
}

void WordWrap::end_word() {
  word_.clear();
  word_columns_ = 0;
}

void WordWrap::end_line(std::string& out) {
  out += '\n';
  column_ = 0;
  end_word();
}

void WordWrap::put(std::string& out, char32_t c) {
  if (c == '\n') return end_line(out);
  if (c == '\r') return;
  if (c == ' ' || c == '\t') {
    end_word();
    const size_t n = std::min(c == ' ' ? 1 : 8 - column_ % 8, width_ - column_);  // none at the end of a line
    out.append(n, ' ');
    column_ += n;
    return;
  }
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) c = 0xfffd;
  std::string bytes;
  append_utf8(bytes, c);
  const size_t columns = joined_ ? 0 : columns_of(c);
  joined_ = c == kJoiner;
  const bool alone = columns == 2 && !is_korean(c);
  if (alone) end_word();
  if (column_ + columns > width_) {
    if (word_columns_ < column_ && !word_.empty() && word_columns_ + columns <= width_) {
      const std::string word = word_;
      const size_t word_columns = word_columns_;
      out += fmt::format("\033[{}D\033[K", word_columns);
      end_line(out);
      out += word;
      word_ = word;
      column_ = word_columns_ = word_columns;
    } else {
      end_line(out);
    }
  }
  out += bytes;
  column_ += columns;
  if (alone || (columns == 0 && word_.empty())) return;  // what follows a wide character belongs to it
  word_ += bytes;
  word_columns_ += columns;
}

}  // namespace hunch::cli
