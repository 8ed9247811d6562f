// Filters on single values: defaults, conversions, numbers, JSON.
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "jinja/filters.h"
#include "jinja/json_dump.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

Value fallback(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("default", args, {"default_value", "boolean"});
  const bool missing = input.is_undefined() || (p.boolean(1, false) && !truthy(input));
  return missing ? p.value(0, rt.heap.string("")) : input;
}

// Text that is a whole decimal number (white space around it allowed).
std::optional<double> parse_float(std::string_view text) {
  const std::string s(strip(text));
  if (s.empty() || s.find_first_of("xXpP(") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(s.c_str(), &end);
  if (end != s.c_str() + s.size()) return std::nullopt;
  return value;
}

std::optional<Int> parse_int(std::string_view text, Int base) {
  text = strip(text);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  const std::string prefix = to_lower(text.substr(0, 2));
  if ((base == 16 && prefix == "0x") || (base == 8 && prefix == "0o") || (base == 2 && prefix == "0b"))
    text.remove_prefix(2);
  if (text.empty()) return std::nullopt;
  Int value = 0;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (c == '_' && i > 0 && i + 1 < text.size() && text[i - 1] != '_') continue;
    const Int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value)) {
      throw Fault("int: the number is too large");
    }
  }
  return negative ? -value : value;
}

std::optional<Int> truncated(double value) {
  if (!(std::abs(value) < 1e38)) return std::nullopt;
  return Int(value);
}

Value to_int(Runtime&, const Value& input, const CallArgs& args) {
  const Params p("int", args, {"default", "base"});
  if (input.is_undefined()) throw Fault(*input.string);
  const Int base = p.integer(1, 10);
  if (base < 2 || base > 36) throw Fault("int: base must be between 2 and 36");
  const Value otherwise = p.value(0, Value(Int(0)));
  std::optional<Int> value;
  if (input.is_integral()) {
    value = input.as_int();
  } else if (input.is(Kind::kFloat)) {
    value = truncated(input.number);
  } else if (input.is_string()) {
    value = parse_int(*input.string, base);
    if (!value) {
      if (const auto number = parse_float(*input.string)) value = truncated(*number);
    }
  }
  return value ? Value(*value) : otherwise;
}

Value to_float(Runtime&, const Value& input, const CallArgs& args) {
  const Params p("float", args, {"default"});
  if (input.is_undefined()) throw Fault(*input.string);
  if (input.is_number()) return Value(input.as_double());
  if (input.is_string()) {
    if (const auto value = parse_float(*input.string)) return Value(*value);
  }
  return p.value(0, Value(0.0));
}

Value absolute(Runtime&, const Value& input, const CallArgs& args) {
  Params("abs", args, {});
  if (input.is(Kind::kFloat)) return Value(std::abs(input.number));
  if (!input.is_integral()) throw Fault(fmt::format("abs needs a number, found {}", type_name(input)));
  return input.as_int() < 0 ? negate(input) : Value(input.as_int());
}

// Half to even in decimal, as Python's round(): the digits are those of the exact binary value.
double round_decimal(double value, int precision) {
  if (!std::isfinite(value)) return value;
  if (precision >= 0) return std::strtod(fmt::format("{:.{}f}", value, precision).c_str(), nullptr);
  const double scale = std::pow(10.0, -precision);
  return std::nearbyint(value / scale) * scale;
}

Value round(Runtime&, const Value& input, const CallArgs& args) {
  const Params p("round", args, {"precision", "method"});
  const std::string method = p.string(1, "common");
  const Int precision = p.integer(0, 0);
  constexpr Int kMaxPrecision = 300;
  if (precision > kMaxPrecision || precision < -kMaxPrecision) throw Fault("round: the precision is too large");
  if (!input.is_number()) throw Fault(fmt::format("round needs a number, found {}", type_name(input)));
  if (method == "common") {
    if (input.is_integral() && precision >= 0) return Value(input.as_int());
    const double rounded = round_decimal(input.as_double(), int(precision));
    if (input.is_integral()) return Value(truncated(rounded).value_or(0));
    return Value(rounded);
  }
  if (method != "ceil" && method != "floor") {
    throw Fault(fmt::format("round: method must be 'common', 'ceil' or 'floor', found '{}'", method));
  }
  const double scale = std::pow(10.0, double(precision));
  const double scaled = input.as_double() * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value attribute(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("attr", args, {"name"}, 1);
  const Value found = get_attribute(rt.heap, input, to_text(p[0]));
  // Unlike a dot, this filter does not look at the items of a dict.
  const bool is_item = input.is(Kind::kDict) && !found.is(Kind::kObject);
  return is_item ? rt.heap.undefined(fmt::format("'dict object' has no attribute '{}'", to_text(p[0]))) : found;
}

// As Hugging Face defines it for chat templates: plain json.dumps without HTML escapes.
Value to_json(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = p.boolean(0, false);
  style.sort_keys = p.boolean(3, false);
  if (p.has(1) && !p[1].is_none()) {
    constexpr Int kMaxIndent = 100;
    const Int width = p[1].is_string() ? Int(0) : p.integer(1, 0);
    if (width > kMaxIndent) throw Fault(fmt::format("tojson: indent is larger than {}", int(kMaxIndent)));
    style.indent = p[1].is_string() ? *p[1].string : std::string(width > 0 ? size_t(width) : 0, ' ');
    style.item_separator = ",";
  }
  if (p.has(2) && !p[2].is_none()) {
    const bool pair = p[2].is_sequence() && p[2].list->items.size() == 2 && p[2].list->items[0].is_string() &&
                      p[2].list->items[1].is_string();
    if (!pair) throw Fault("tojson: separators must be a pair of strs");
    style.item_separator = *p[2].list->items[0].string;
    style.key_separator = *p[2].list->items[1].string;
  }
  return rt.heap.string(dump_json(input, style));
}

constexpr FilterEntry kFilters[] = {
    {"abs", absolute},   {"attr", attribute}, {"d", fallback},  {"default", fallback},
    {"float", to_float}, {"int", to_int},     {"round", round}, {"tojson", to_json},
};

}  // namespace

std::span<const FilterEntry> value_filters() { return kFilters; }

}  // namespace hunch::jinja
