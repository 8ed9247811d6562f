#include "jinja/string_literal.h"

#include <fmt/format.h>

#include "jinja/unicode.h"
#include "jinja/value.h"

namespace hunch::jinja {
namespace {

// n_digits hexadecimal digits at `at`, or -1.
int64_t hex_at(std::string_view text, size_t at, size_t n_digits) {
  if (at + n_digits > text.size()) return -1;
  int64_t value = 0;
  for (char c : text.substr(at, n_digits)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

char simple_escape(char c) {
  switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'a': return '\a';
    case 'b': return '\b';
    case 'f': return '\f';
    case 'v': return '\v';
    case '\\':
    case '\'':
    case '"': return c;
    default: return '\0';
  }
}

}  // namespace

std::string decode_string_literal(std::string_view body) {
  std::string out;
  for (size_t i = 0; i < body.size();) {
    if (body[i] != '\\' || i + 1 == body.size()) {
      out += body[i++];
      continue;
    }
    const char c = body[i + 1];
    if (const char plain = simple_escape(c)) {
      out += plain;
      i += 2;
    } else if (c == '\n') {
      i += 2;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      int64_t value = hex_at(body, i + 2, n_digits);
      if (value < 0) throw Fault(fmt::format("the escape '\\{}' needs {} hexadecimal digits", c, n_digits));
      i += 2 + n_digits;
      if (value >= 0xD800 && value < 0xDC00 && body.substr(i, 2) == "\\u") {
        const int64_t low = hex_at(body, i + 2, 4);
        if (low >= 0xDC00 && low < 0xE000) {
          value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
          i += 6;
        }
      }
      append_utf8(value > 0x10FFFF ? -1 : int32_t(value), out);
    } else if (c >= '0' && c <= '7') {
      int32_t value = 0;
      size_t end = i + 1;
      while (end < body.size() && end < i + 4 && body[end] >= '0' && body[end] <= '7')
        value = value * 8 + (body[end++] - '0');
      append_utf8(value, out);
      i = end;
    } else {
      out += '\\';
      i++;
    }
  }
  return out;
}

}  // namespace hunch::jinja
