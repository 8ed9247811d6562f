#include "jinja/unicode.h"

#include <utf8proc.h>

namespace hunch::jinja {
namespace {

utf8proc_category_t category(int32_t c) { return c < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(c); }

enum class Case { kUpper, kLower };

void append_cased(CodePoint c, std::string_view bytes, Case to, std::string& out) {
  constexpr int32_t kSharpS = 0xDF;
  if (c.value < 0) {
    out += bytes;
  } else if (to == Case::kUpper && c.value == kSharpS) {
    out += "SS";
  } else {
    append_utf8(to == Case::kUpper ? utf8proc_toupper(c.value) : utf8proc_tolower(c.value), out);
  }
}

// Calls f(code point, its bytes) for each character.
template <class F>
void for_each_character(std::string_view text, F f) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    f(c, text.substr(at, c.n_bytes));
    at += c.n_bytes;
  }
}

bool is_line_end(int32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

}  // namespace

CodePoint decode_at(std::string_view text, size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return {byte, 1};
  int32_t value = -1;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                  utf8proc_ssize_t(text.size() - at), &value);
  if (n <= 0) return {-1, 1};
  return {value, size_t(n)};
}

void append_utf8(int32_t value, std::string& out) {
  if (!utf8proc_codepoint_valid(value)) value = 0xFFFD;
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(value, bytes);
  out.append(reinterpret_cast<const char*>(bytes), size_t(n));
}

size_t n_code_points(std::string_view text) {
  size_t n = 0;
  for (size_t at = 0; at < text.size(); n++) at += decode_at(text, at).n_bytes;
  return n;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  out.reserve(text.size());
  for_each_character(text, [&](CodePoint, std::string_view bytes) { out.push_back(bytes); });
  return out;
}

bool is_space(int32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_alpha(int32_t c) {
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT ||
         k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_LO;
}

bool is_digit(int32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_numeric(int32_t c) {
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool is_upper(int32_t c) { return category(c) == UTF8PROC_CATEGORY_LU; }
bool is_lower(int32_t c) { return category(c) == UTF8PROC_CATEGORY_LL; }

bool is_printable(int32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
  }
}

std::string to_upper(std::string_view text) {
  std::string out;
  for_each_character(text, [&](CodePoint c, std::string_view b) { append_cased(c, b, Case::kUpper, out); });
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  for_each_character(text, [&](CodePoint c, std::string_view b) { append_cased(c, b, Case::kLower, out); });
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  for_each_character(text, [&](CodePoint c, std::string_view b) {
    append_cased(c, b, is_upper(c.value) ? Case::kLower : Case::kUpper, out);
  });
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  bool first = true;
  for_each_character(text, [&](CodePoint c, std::string_view b) {
    append_cased(c, b, first ? Case::kUpper : Case::kLower, out);
    first = false;
  });
  return out;
}

std::string title_case(std::string_view text) {
  std::string out;
  bool in_word = false;
  for_each_character(text, [&](CodePoint c, std::string_view b) {
    append_cased(c, b, in_word ? Case::kLower : Case::kUpper, out);
    in_word = is_alpha(c.value);
  });
  return out;
}

std::string_view strip(std::string_view text, bool left, bool right, const std::string* chars) {
  const auto drop = [&](std::string_view c) {
    if (!chars) return is_space(decode_at(c, 0).value);
    for (size_t at = 0; at < chars->size();) {
      const size_t n = decode_at(*chars, at).n_bytes;
      if (std::string_view(*chars).substr(at, n) == c) return true;
      at += n;
    }
    return false;
  };
  while (left && !text.empty()) {
    const size_t n = decode_at(text, 0).n_bytes;
    if (!drop(text.substr(0, n))) break;
    text.remove_prefix(n);
  }
  while (right && !text.empty()) {
    size_t at = text.size() - 1;  // back to a byte from which a whole character reaches the end
    for (size_t back = 1; back <= 4 && back <= text.size(); back++) {
      if (decode_at(text, text.size() - back).n_bytes == back) at = text.size() - back;
    }
    if (!drop(text.substr(at))) break;
    text.remove_suffix(text.size() - at);
  }
  return text;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    size_t end = at + c.n_bytes;
    if (is_line_end(c.value)) {
      if (c.value == '\r' && end < text.size() && text[end] == '\n') end++;
      lines.push_back(text.substr(begin, (keep_ends ? end : at) - begin));
      begin = end;
    }
    at = end;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

}  // namespace hunch::jinja
