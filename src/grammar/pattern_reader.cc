#include "grammar/pattern_reader.h"

#include <algorithm>

#include "base/error.h"

namespace hunch::grammar {

void PatternReader::fail(const std::string& message) const {
  hunch::fail(ErrorKind::kUsage, "{}, at byte {} of {}: {}", what_, std::min(at_, text_.size()), text_.size(), message);
}

uint32_t PatternReader::next() {
  if (at_end()) fail("it ends too early");
  const uint8_t head = uint8_t(text_[at_]);
  const size_t n = head < 0x80 ? 1 : head < 0xC2 ? 0 : head < 0xE0 ? 2 : head < 0xF0 ? 3 : head < 0xF5 ? 4 : 0;
  if (!n || at_ + n > text_.size()) fail("it is no UTF-8");
  uint32_t c = n == 1 ? head : head & (0xFFu >> (n + 1));
  for (size_t i = 1; i < n; ++i) {
    const uint8_t byte = uint8_t(text_[at_ + i]);
    if ((byte & 0xC0) != 0x80) fail("it is no UTF-8");
    c = c << 6 | (byte & 0x3F);
  }
  if (c > kLastChar || (c >= 0xD800 && c < 0xE000) || (n == 3 && c < 0x800) || (n == 4 && c < 0x10000))
    fail("it is no UTF-8");
  at_ += n;
  return c;
}

uint32_t PatternReader::hex(size_t n) {
  uint32_t value = 0;
  for (size_t i = 0; i < n; ++i) {
    const char c = peek();
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) fail("expected a hexadecimal digit");
    value = value << 4 | uint32_t(digit);
    ++at_;
  }
  return value;
}

uint32_t PatternReader::simple_escape(uint32_t c) {
  switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'x': return hex(2);
    case 'u': break;
    case 'U': {
      const uint32_t value = hex(8);
      if (value > kLastChar || (value >= 0xD800 && value < 0xE000)) fail("there is no such character");
      return value;
    }
    default: return kNone;
  }
  uint32_t value = 0;
  if (take('{')) {
    size_t n = 0;
    while (n < 6 && peek(n) != '}') ++n;
    value = hex(n);
    if (!n || !take('}')) fail("expected \\u{...}");
  } else {
    value = hex(4);
    if (value >= 0xD800 && value < 0xDC00 && peek() == '\\' && peek(1) == 'u') {
      at_ += 2;
      const uint32_t low = hex(4);
      if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair is no character");
      value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
    }
  }
  if (value > kLastChar || (value >= 0xD800 && value < 0xE000)) fail("there is no such character");
  return value;
}

bool PatternReader::repeats(uint32_t& least, uint32_t& most, uint32_t limit) {
  const size_t begin = at_;
  const auto digits = [&](uint32_t otherwise) {
    if (peek() < '0' || peek() > '9') return otherwise;
    uint32_t value = 0;
    while (peek() >= '0' && peek() <= '9')
      value = std::min<uint32_t>(value * 10 + uint32_t(text_[at_++] - '0'), 1 << 24);
    return value;
  };
  take('{');
  const size_t first = at_;
  least = digits(0);
  const bool has_least = at_ > first;
  most = least;
  bool has_most = true;
  if (take(',')) {
    const size_t second = at_;
    most = digits(kNone);
    has_most = at_ > second;
  }
  if (!take('}') || (!has_least && !has_most)) {
    at_ = begin;
    return false;
  }
  if (least > limit || (most != kNone && most > limit)) fail(fmt::format("more than {} repetitions", limit));
  if (most < least) fail("the most repetitions are fewer than the least");
  return true;
}

CharSet PatternReader::char_class(const std::function<CharSet()>& escape) {
  const bool negated = take('^');
  CharSet out;
  while (!take(']')) {
    const uint32_t c = next();
    const CharSet one = c == '\\' ? escape() : CharSet{{c, c}};
    const bool is_char = one.ranges().size() == 1 && one.ranges()[0].first == one.ranges()[0].last;
    if (peek() != '-' || peek(1) == ']' || peek(1) == '\0') {
      out.add(one);
      continue;
    }
    take('-');
    const uint32_t d = next();
    const CharSet other = d == '\\' ? escape() : CharSet{{d, d}};
    if (!is_char || other.ranges().size() != 1 || other.ranges()[0].first != other.ranges()[0].last)
      fail("a range of characters has an end that is no character");
    if (other.ranges()[0].first < one.ranges()[0].first) fail("a range of characters is the wrong way around");
    out.add(one.ranges()[0].first, other.ranges()[0].first);
  }
  return negated ? out.complement() : out;
}

}  // namespace hunch::grammar
