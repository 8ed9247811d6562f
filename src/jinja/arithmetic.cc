#include <fmt/format.h>

#include <cmath>

#include "jinja/operators.h"
#include "jinja/percent_format.h"
#include "jinja/text_operations.h"

namespace hunch::jinja {
namespace {

[[noreturn]] void fail_types(std::string_view op, const Value& a, const Value& b) {
  for (const Value* v : {&a, &b}) {
    if (v->is_undefined()) throw Fault(*v->string);
  }
  throw Fault(fmt::format("operator '{}' cannot combine {} and {}", op, type_name(a), type_name(b)));
}

[[noreturn]] void fail_overflow() { throw Fault("an integer result is too large"); }

Value integer_power(Int base, Int exponent) {
  if (exponent < 0) return Value(std::pow(double(base), double(exponent)));
  Int result = 1;
  bool overflow = false;
  if (base == 0 || base == 1) return Value(exponent == 0 ? Int(1) : base);
  if (base == -1) return Value(exponent % 2 == 0 ? Int(1) : Int(-1));
  for (Int i = 0; i < exponent && !overflow; i++) overflow = __builtin_mul_overflow(result, base, &result);
  if (overflow) fail_overflow();
  return Value(result);
}

// Division that rounds towards minus infinity, and the remainder that goes with it.
Int floor_divide(Int a, Int b) {
  const Int q = a / b;
  return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}

double floor_remainder(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

Value integer_arithmetic(std::string_view op, Int a, Int b) {
  constexpr Int kMin = -(Int(1) << 126) - (Int(1) << 126);
  Int r = 0;
  if (op == "+" || op == "-" || op == "*") {
    const bool overflow = op == "+"   ? __builtin_add_overflow(a, b, &r)
                          : op == "-" ? __builtin_sub_overflow(a, b, &r)
                                      : __builtin_mul_overflow(a, b, &r);
    if (overflow) fail_overflow();
    return Value(r);
  }
  if (op == "**") return integer_power(a, b);
  if (b == 0) throw Fault("division by zero");
  if (op == "/") return Value(double(a) / double(b));
  if (a == kMin && b == -1) fail_overflow();
  if (op == "//") return Value(floor_divide(a, b));
  return Value(a - floor_divide(a, b) * b);
}

Value float_arithmetic(std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") {
    if (a < 0 && std::trunc(b) != b) throw Fault("a negative number to a fractional power is not real");
    if (a == 0 && b < 0) throw Fault("0.0 cannot be raised to a negative power");
    const double r = std::pow(a, b);
    if (std::isinf(r) && std::isfinite(a) && std::isfinite(b)) throw Fault("a float result is too large");
    return Value(r);
  }
  if (b == 0) throw Fault("division by zero");
  if (op == "/") return Value(a / b);
  if (op == "//") return Value(std::floor(a / b));
  return Value(floor_remainder(a, b));
}

size_t checked_size(size_t unit, Int count) {
  constexpr size_t kMax = size_t{1} << 40;  // more than any Heap holds: charging it throws
  if (count <= 0 || unit == 0) return 0;
  return count > Int(kMax / unit) ? kMax : unit * size_t(count);
}

Value repeat(Heap& heap, const Value& what, Int count) {
  if (what.is_string()) {
    const size_t size = checked_size(what.string->size(), count);
    heap.charge(size);
    std::string out;
    out.reserve(size);
    while (out.size() < size) out += *what.string;
    return heap.string(std::move(out)).as_markup(what.markup);
  }
  const auto& items = what.list->items;
  const size_t size = checked_size(items.size(), count);
  heap.charge(size * sizeof(Value));
  std::vector<Value> out;
  out.reserve(size);
  while (out.size() < size) out.insert(out.end(), items.begin(), items.end());
  return what.is(Kind::kTuple) ? heap.tuple(std::move(out)) : heap.list(std::move(out));
}

std::string to_markup(const Value& text) { return text.markup ? *text.string : escape_html(*text.string); }

// What is formatted into Markup: the same values with their texts escaped.
Value escaped(Heap& heap, const Value& value) {
  if (value.is_string()) return heap.string(to_markup(value)).as_markup();
  if (!value.is(Kind::kTuple)) return value;
  std::vector<Value> items;
  for (const Value& item : value.list->items) items.push_back(item.is_string() ? escaped(heap, item) : item);
  return heap.tuple(std::move(items));
}

Value concatenate(Heap& heap, const Value& a, const Value& b) {
  if (a.is_string()) {
    if (!a.markup && !b.markup) return heap.string(*a.string + *b.string);
    return heap.string(to_markup(a) + to_markup(b)).as_markup();
  }
  std::vector<Value> items = a.list->items;
  items.insert(items.end(), b.list->items.begin(), b.list->items.end());
  return a.is(Kind::kTuple) ? heap.tuple(std::move(items)) : heap.list(std::move(items));
}

}  // namespace

Value binary(Heap& heap, std::string_view op, const Value& a, const Value& b) {
  if (op == "~") return heap.string(to_text(a) + to_text(b));
  if (op == "%" && a.is_string()) {
    return heap.string(percent_format(*a.string, a.markup ? escaped(heap, b) : b)).as_markup(a.markup);
  }
  if (a.is_integral() && b.is_integral()) return integer_arithmetic(op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return float_arithmetic(op, a.as_double(), b.as_double());
  const bool a_repeats = a.is_string() || a.is_sequence();
  const bool b_repeats = b.is_string() || b.is_sequence();
  if (op == "+" && a.kind == b.kind && a_repeats) return concatenate(heap, a, b);
  if (op == "*" && a_repeats && b.is_integral()) return repeat(heap, a, b.as_int());
  if (op == "*" && b_repeats && a.is_integral()) return repeat(heap, b, a.as_int());
  fail_types(op, a, b);
}

Value negate(const Value& value) {
  if (value.is_integral()) return integer_arithmetic("-", 0, value.as_int());
  if (value.is(Kind::kFloat)) return Value(-value.number);
  if (value.is_undefined()) throw Fault(*value.string);
  throw Fault(fmt::format("{} has no sign", type_name(value)));
}

}  // namespace hunch::jinja
