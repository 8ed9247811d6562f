#include "jinja/percent_format.h"

#include <fmt/format.h>

#include <cmath>

#include "jinja/number_format.h"
#include "jinja/operators.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

class PercentFormatter {
 public:
  PercentFormatter(std::string_view text, const Value& values) : text_(text), values_(values) {}

  std::string run() {
    std::string out;
    while (at_ < text_.size()) {
      if (text_[at_] != '%') {
        out += text_[at_++];
      } else if (text_.substr(at_, 2) == "%%") {
        out += '%';
        at_ += 2;
      } else {
        at_++;
        out += format_field();
        check_text_size(out.size());
      }
    }
    const bool all_used = used_named_ || values_.is(Kind::kDict) || n_used_ >= n_values();
    if (!all_used) throw Fault("not all values were used by the '%' format");
    return out;
  }

 private:
  size_t n_values() const { return values_.is(Kind::kTuple) ? values_.list->items.size() : 1; }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  const Value& next_value() {
    if (n_used_ >= n_values()) throw Fault("not enough values for the '%' format");
    const size_t i = n_used_++;
    return values_.is(Kind::kTuple) ? values_.list->items[i] : values_;
  }

  int number_or_star() {
    if (peek() == '*') {
      at_++;
      const Value& v = next_value();
      if (!v.is_integral() || v.as_int() < 0 || v.as_int() > kMaxWidth)
        throw Fault("'*' in a '%' format needs a small int");
      return int(v.as_int());
    }
    int n = 0;
    while (peek() >= '0' && peek() <= '9') {
      n = n * 10 + (text_[at_++] - '0');
      if (n > kMaxWidth) throw Fault(fmt::format("a width in a '%' format is larger than {}", kMaxWidth));
    }
    return n;
  }

  std::string format_field() {
    const Value* named = nullptr;
    if (peek() == '(') {
      const size_t end = text_.find(')', at_);
      if (end == std::string_view::npos) throw Fault("'%(' in a format has no ')'");
      if (!values_.is(Kind::kDict)) throw Fault("'%(name)' in a format needs a dict");
      const std::string_view key = text_.substr(at_ + 1, end - at_ - 1);
      named = values_.dict->find(key);
      if (!named) throw Fault(fmt::format("the '%' format names the key '{}', which the dict lacks", key));
      used_named_ = true;
      at_ = end + 1;
    }
    FormatSpec spec;
    spec.align = '>';
    bool zero = false;
    for (bool flags = true; flags;) {
      switch (peek()) {
        case '-': spec.align = '<'; break;
        case '+': spec.sign = '+'; break;
        case ' ': spec.sign = spec.sign == '+' ? '+' : ' '; break;
        case '0': zero = true; break;
        case '#': spec.alternate = true; break;
        default: flags = false;
      }
      if (flags) at_++;
    }
    spec.width = number_or_star();
    if (peek() == '.') {
      at_++;
      spec.precision = number_or_star();
    }
    if (at_ >= text_.size()) throw Fault("the '%' format ends inside a field");
    const char type = text_[at_++];
    const Value value = named ? *named : next_value();
    if (zero && spec.align == '>') spec.fill = "0", spec.align = '=';
    return format_typed(value, spec, type);
  }

  std::string format_typed(const Value& value, FormatSpec spec, char type) {
    switch (type) {
      case 's':
      case 'r':
      case 'a': {
        const std::string text = type == 's' ? to_text(value) : to_repr(value);
        spec.type = 's';
        spec.fill = " ";
        if (spec.align == '=') spec.align = '>';
        return format_value(Value(&text), spec);
      }
      case 'c':
        if (value.is_string()) {
          if (n_code_points(*value.string) != 1) throw Fault("format '%c' needs one character");
          return *value.string;
        }
        spec.type = 'c';
        break;
      case 'd':
      case 'i':
      case 'u': spec.type = 'd'; break;
      case 'x':
      case 'X':
      case 'o':
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': spec.type = type; break;
      default: throw Fault(fmt::format("unknown format '%{}'", type));
    }
    if (!value.is_number()) {
      throw Fault(fmt::format("format '%{}' needs a number, found {}", type, type_name(value)));
    }
    if (spec.type == 'd' && value.is(Kind::kFloat)) {
      if (!(std::abs(value.number) < 1e37)) throw Fault("format '%d' cannot show this float");
      return format_value(Value(Int(value.number)), spec);
    }
    return format_value(value, spec);
  }

  static constexpr int kMaxWidth = 10000;
  const std::string_view text_;
  const Value values_;
  size_t at_ = 0, n_used_ = 0;
  bool used_named_ = false;
};

}  // namespace

std::string percent_format(std::string_view text, const Value& values) { return PercentFormatter(text, values).run(); }

}  // namespace hunch::jinja
