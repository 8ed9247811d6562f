// What regular expressions and GBNF have in common: characters, escapes, classes, counts.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "grammar/char_set.h"

namespace hunch::grammar {

class PatternReader {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // `what` is named in errors. Both are kept as they are.
  PatternReader(std::string_view text, const char* what) : text_(text), what_(what) {}

  bool at_end() const { return at_ >= text_.size(); }
  size_t at() const { return at_; }
  void go_to(size_t at) { at_ = at; }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool take(char c) {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  // The next character; an error at the end and for what is no UTF-8.
  uint32_t next();
  std::string_view from(size_t first) const { return text_.substr(first, at_ - first); }

  // {n}, {n,}, {n,m} (and {,m}). False, and nothing is read, where it is none.
  bool repeats(uint32_t& least, uint32_t& most, uint32_t limit);
  // \n, \t, \xHH, \uHHHH, \u{...}, \UHHHHHHHH behind the backslash, of which c was read; kNone for others.
  uint32_t simple_escape(uint32_t c);
  // [...] of which the bracket was read; `escape` reads what follows a backslash.
  CharSet char_class(const std::function<CharSet()>& escape);

  // Throws Error{kUsage} that says where.
  [[noreturn]] void fail(const std::string& message) const;

 private:
  uint32_t hex(size_t n);

  const std::string_view text_;
  const char* what_;
  size_t at_ = 0;
};

}  // namespace hunch::grammar
