// Numbers between bounds, as regular expressions over their digits.
#include <algorithm>

#include "base/error.h"
#include "grammar/dfa.h"
#include "grammar/json_text.h"

namespace hunch::grammar {
namespace {

constexpr uint32_t kMostDigits = 17;

Expr digit(char first, char last) { return chars({{uint32_t(first), uint32_t(last)}}); }
Expr digits(uint32_t least, uint32_t most) { return repeat(digit('0', '9'), least, most); }
Expr empty() { return literal(""); }
Expr nothing() { return choice({}); }

// A bound without its sign: whole digits without leading zeros, digits behind the point without trailing ones.
struct Decimal {
  bool negative = false;
  std::string whole, fraction;
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};

Decimal decimal_of(std::string_view text) {
  Decimal out;
  if (text.starts_with('-')) out.negative = true, text.remove_prefix(1);
  const size_t point = text.find('.');
  out.whole = std::string(text.substr(0, point));
  if (point != text.npos) out.fraction = std::string(text.substr(point + 1));
  while (out.fraction.ends_with('0')) out.fraction.pop_back();
  while (out.whole.size() > 1 && out.whole[0] == '0') out.whole.erase(0, 1);
  const auto is_digits = [](const std::string& s) {
    return std::ranges::all_of(s, [](char c) { return c >= '0' && c <= '9'; });
  };
  if (out.whole.empty() || !is_digits(out.whole) || !is_digits(out.fraction) || out.whole.size() > kMostDigits ||
      out.fraction.size() > kMostDigits)
    fail(ErrorKind::kUnsupported,
         "bounds of numbers are held up to {} digits on either side of the point, this one is {}", kMostDigits, text);
  if (out.is_zero()) out.negative = false;
  return out;
}

std::string plus_one(std::string whole) {
  for (size_t i = whole.size(); i > 0; --i) {
    if (whole[i - 1] != '9') return ++whole[i - 1], whole;
    whole[i - 1] = '0';
  }
  return "1" + whole;
}
std::string minus_one(std::string whole) {
  for (size_t i = whole.size(); i > 0; --i) {
    if (whole[i - 1] != '0') {
      --whole[i - 1];
      break;
    }
    whole[i - 1] = '9';
  }
  while (whole.size() > 1 && whole[0] == '0') whole.erase(0, 1);
  return whole;
}

// Digits of the length of `s` that are not less, or not more, than these.
Expr same_length(std::string_view s, bool at_least) {
  if (s.empty()) return empty();
  const uint32_t rest = uint32_t(s.size()) - 1;
  std::vector<Expr> out = {sequence({literal({s[0]}), same_length(s.substr(1), at_least)})};
  if (at_least && s[0] < '9') out.push_back(sequence({digit(char(s[0] + 1), '9'), digits(rest, rest)}));
  if (!at_least && s[0] > '0') out.push_back(sequence({digit('0', char(s[0] - 1)), digits(rest, rest)}));
  return choice(std::move(out));
}

Expr of_length(uint32_t least, uint32_t most) {  // whole numbers of so many digits
  if (least > most) return nothing();
  std::vector<Expr> out;
  if (least <= 1) out.push_back(literal("0"));
  out.push_back(sequence({digit('1', '9'), digits(std::max(least, 1u) - 1, most - 1)}));
  return choice(std::move(out));
}

Expr whole_at_least(const std::string& s) {
  const uint32_t n = uint32_t(s.size());
  if (n > kMostDigits) return nothing();
  return choice({same_length(s, true), of_length(n + 1, kMostDigits)});
}
Expr whole_at_most(const std::string& s) {
  const uint32_t n = uint32_t(s.size());
  // Of the same length and without a leading zero.
  const Expr first =
      n == 1 ? digit('0', s[0])
             : choice({sequence({literal({s[0]}), same_length(std::string_view(s).substr(1), false)}),
                       s[0] > '1' ? sequence({digit('1', char(s[0] - 1)), digits(n - 1, n - 1)}) : nothing()});
  return n == 1 ? first : choice({first, of_length(1, n - 1)});
}

// Without a limit where numbers are bounded: counted digits on top of bounds would make automata large.
Expr any_fraction() { return optional(sequence({literal("."), digits(1, kNoLimit)})); }

// What stands behind a whole number that is that of the bound.
Expr fraction_at_least(const std::string& f, bool exclusive) {
  std::vector<Expr> out;
  for (size_t i = 0; i < f.size(); ++i)
    if (f[i] < '9')
      out.push_back(sequence({literal("." + f.substr(0, i)), digit(char(f[i] + 1), '9'), digits(0, kNoLimit)}));
  const Expr more = sequence({digits(0, kNoLimit), digit('1', '9'), digits(0, kNoLimit)});
  if (exclusive) {
    out.push_back(sequence({literal("." + f), more}));
  } else if (f.empty()) {
    return any_fraction();
  } else {
    out.push_back(sequence({literal("." + f), digits(0, kNoLimit)}));
  }
  return choice(std::move(out));
}
Expr fraction_at_most(const std::string& f, bool exclusive) {
  std::vector<Expr> out;
  const Expr zeros = repeat(literal("0"), 0);
  if (f.empty()) return exclusive ? nothing() : choice({empty(), sequence({literal(".0"), zeros})});
  out.push_back(empty());
  for (size_t i = 0; i < f.size(); ++i) {
    if (f[i] > '0')
      out.push_back(sequence({literal("." + f.substr(0, i)), digit('0', char(f[i] - 1)), digits(0, kNoLimit)}));
    if (i) out.push_back(literal("." + f.substr(0, i)));
  }
  if (!exclusive) out.push_back(sequence({literal("." + f), zeros}));
  return choice(std::move(out));
}

Expr any_size(bool integer) { return sequence({of_length(1, kMostDigits), integer ? empty() : any_fraction()}); }
// Without a sign: not less than the bound, not more.
Expr size_at_least(const Decimal& d, bool exclusive, bool integer) {
  if (integer) return whole_at_least(d.fraction.empty() && !exclusive ? d.whole : plus_one(d.whole));
  return choice({sequence({whole_at_least(plus_one(d.whole)), any_fraction()}),
                 sequence({literal(d.whole), fraction_at_least(d.fraction, exclusive)})});
}
Expr size_at_most(const Decimal& d, bool exclusive, bool integer) {
  if (integer) {
    if (!exclusive || !d.fraction.empty()) return whole_at_most(d.whole);
    return d.whole == "0" ? nothing() : whole_at_most(minus_one(d.whole));
  }
  const Expr equal = sequence({literal(d.whole), fraction_at_most(d.fraction, exclusive)});
  return d.whole == "0" ? equal : choice({sequence({whole_at_most(minus_one(d.whole)), any_fraction()}), equal});
}

Expr minus(Expr size) { return sequence({literal("-"), std::move(size)}); }
// Without -0, which some read as another number than 0.
Expr negative(bool integer) { return minus(size_at_least({false, "0", ""}, true, integer)); }

}  // namespace

Expr json_number(const NumberBounds& b) {
  if (b.least.empty() && b.most.empty()) {
    const Expr whole = sequence({optional(literal("-")), of_length(1, kMostDigits)});
    if (b.integer) return whole;
    const Expr exponent =
        sequence({chars({{'E', 'E'}, {'e', 'e'}}), optional(chars({{'+', '+'}, {'-', '-'}})), digits(1, 2)});
    const Expr fraction = optional(sequence({literal("."), digits(1, kMostDigits)}));
    return sequence({whole, fraction, optional(exponent)});
  }
  Expr low, high;
  if (!b.least.empty()) {
    const Decimal d = decimal_of(b.least);
    low = d.negative ? choice({any_size(b.integer), minus(size_at_most(d, b.exclusive_least, b.integer))})
                     : size_at_least(d, b.exclusive_least, b.integer);
  }
  if (!b.most.empty()) {
    const Decimal d = decimal_of(b.most);
    high = d.negative ? minus(size_at_least(d, b.exclusive_most, b.integer))
                      : choice({negative(b.integer), size_at_most(d, b.exclusive_most, b.integer)});
  }
  if (!low) return high;
  if (!high) return low;
  return of_dfa(Dfa::both(Dfa(low), Dfa(high)));
}

}  // namespace hunch::grammar
