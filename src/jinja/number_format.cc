#include "jinja/number_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

constexpr int kMaxWidth = 10000;

int parse_number(std::string_view text, size_t& at, const char* what) {
  int n = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    n = n * 10 + (text[at++] - '0');
    if (n > kMaxWidth) throw Fault(fmt::format("the {} of a format is larger than {}", what, kMaxWidth));
  }
  return n;
}

std::string in_base(Int value, unsigned base, bool upper) {
  const std::string_view digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  Int left = value;
  do {
    const int digit = int(left % Int(base));  // has the sign of `value`, so that the smallest Int needs no negation
    out += digits[size_t(digit < 0 ? -digit : digit)];
    left /= Int(base);
  } while (left != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string float_digits(double magnitude, const FormatSpec& spec) {
  if (spec.type == '\0' && spec.precision < 0) return float_to_text(magnitude);
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  char type = spec.type == '\0' ? 'g' : spec.type;
  if (!std::isfinite(magnitude))
    return std::isupper(static_cast<unsigned char>(type)) ? (std::isnan(magnitude) ? "NAN" : "INF")
                                                          : (std::isnan(magnitude) ? "nan" : "inf");
  switch (type) {
    case 'e': return fmt::format("{:.{}e}", magnitude, precision);
    case 'E': return fmt::format("{:.{}E}", magnitude, precision);
    case 'f':
    case 'F': return fmt::format("{:.{}f}", magnitude, precision);
    case '%': return fmt::format("{:.{}f}%", magnitude * 100, precision);
    case 'G': return fmt::format("{:.{}G}", magnitude, std::max(precision, 1));
    default: break;
  }
  std::string text = fmt::format("{:.{}g}", magnitude, std::max(precision, 1));
  if (spec.type == '\0' && text.find_first_of(".e") == std::string::npos) {
    // Without a type, a float shows that it is one: 2.0, or 1e+02 where there is no room for ".0".
    const bool fits = text.size() < size_t(std::max(precision, 1));
    if (fits) return text + ".0";
    const size_t end = text.find_last_not_of('0') + 1;
    const std::string digits = text.substr(0, std::max<size_t>(end, 1));
    return fmt::format("{}{}{}e+{:02}", digits[0], digits.size() > 1 ? "." : "", digits.substr(1), text.size() - 1);
  }
  return text;
}

void add_thousands(std::string& digits) {
  size_t end = digits.find_first_not_of("0123456789");
  if (end == std::string::npos) end = digits.size();
  for (size_t at = end; at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
}

std::string pad(const std::string& sign, const std::string& body, const FormatSpec& spec, char align) {
  const size_t n = n_code_points(sign) + n_code_points(body);
  const size_t missing = size_t(spec.width) > n ? size_t(spec.width) - n : 0;
  const size_t before = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  const auto fill = [&](size_t count) {
    std::string out;
    for (size_t i = 0; i < count; i++) out += spec.fill;
    return out;
  };
  if (align == '=') return sign + fill(missing) + body;
  return fill(before) + sign + body + fill(missing - before);
}

}  // namespace

FormatSpec parse_format_spec(std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (!text.empty()) {
    const size_t n = decode_at(text, 0).n_bytes;
    if (n < text.size() && is_align(text[n])) {
      spec.fill = text.substr(0, n);
      spec.align = text[n];
      at = n + 1;
    } else if (is_align(text[0])) {
      spec.align = text[0];
      at = 1;
    }
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) spec.sign = text[at++];
  if (at < text.size() && text[at] == '#') spec.alternate = true, at++;
  if (at < text.size() && text[at] == '0') {
    if (!spec.align) spec.fill = "0", spec.align = '=';
    at++;
  }
  spec.width = parse_number(text, at, "width");
  if (at < text.size() && text[at] == ',') spec.thousands = true, at++;
  if (at < text.size() && text[at] == '.') {
    at++;
    const size_t digits = at;
    spec.precision = parse_number(text, at, "precision");
    if (at == digits) throw Fault(fmt::format("the format '{}' has no digits after '.'", text));
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) throw Fault(fmt::format("the format '{}' is not understood", text));
  return spec;
}

std::string format_value(const Value& value, const FormatSpec& spec) {
  if (value.is_string() || spec.type == 's' || !value.is_number() || (value.is(Kind::kBool) && spec.type == '\0')) {
    if (spec.type != '\0' && spec.type != 's') {
      throw Fault(fmt::format("format '{}' needs a number, found {}", spec.type, type_name(value)));
    }
    std::string text = to_text(value);
    if (spec.precision >= 0) {
      const auto chars = characters(text);
      size_t n_bytes = 0;
      for (size_t i = 0; i < std::min(chars.size(), size_t(spec.precision)); i++) n_bytes += chars[i].size();
      text.resize(n_bytes);
    }
    return pad("", text, spec, spec.align && spec.align != '=' ? spec.align : '<');
  }
  const bool float_type = spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  std::string body;
  bool negative = false;
  if (value.is(Kind::kFloat) || float_type) {
    if (!float_type && spec.type != '\0') throw Fault(fmt::format("format '{}' needs an int, found float", spec.type));
    const double number = value.as_double();
    negative = std::signbit(number) && !std::isnan(number);
    body = float_digits(std::abs(number), spec);
  } else {
    const Int number = value.as_int();
    negative = number < 0;
    switch (spec.type) {
      case '\0':
      case 'd': body = in_base(number, 10, false); break;
      case 'x': body = (spec.alternate ? "0x" : "") + in_base(number, 16, false); break;
      case 'X': body = (spec.alternate ? "0X" : "") + in_base(number, 16, true); break;
      case 'o': body = (spec.alternate ? "0o" : "") + in_base(number, 8, false); break;
      case 'b': body = (spec.alternate ? "0b" : "") + in_base(number, 2, false); break;
      case 'c':
        if (number < 0 || number > 0x10FFFF) throw Fault("format 'c' needs a code point");
        append_utf8(int32_t(number), body);
        negative = false;
        break;
      default: throw Fault(fmt::format("unknown format '{}' for an int", spec.type));
    }
  }
  if (spec.thousands) add_thousands(body);
  const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  return pad(sign, body, spec, spec.align ? spec.align : '>');
}

}  // namespace hunch::jinja
