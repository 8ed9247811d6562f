// The tests of the language: value is name(args).
#include <fmt/format.h>

#include "jinja/filters.h"
#include "jinja/text_operations.h"

namespace hunch::jinja {
namespace {

struct TestEntry {
  const char* name;
  size_t n_args;
  bool (*holds)(Runtime&, const Value& v, const std::vector<Value>& args);
};

using Args = const std::vector<Value>&;

bool is_remainder(Runtime& rt, const Value& v, const Value& divisor, Int remainder) {
  return equal(binary(rt.heap, "%", v, divisor), Value(remainder));
}

template <Kind kKind>
bool is_kind(Runtime&, const Value& v, Args) {
  return v.is(kKind);
}

bool is_equal(Runtime&, const Value& v, Args a) { return equal(v, a[0]); }
bool is_unequal(Runtime&, const Value& v, Args a) { return !equal(v, a[0]); }
bool is_less(Runtime&, const Value& v, Args a) { return compare(v, a[0], "<") < 0; }
bool is_less_equal(Runtime&, const Value& v, Args a) { return compare(v, a[0], "<=") <= 0; }
bool is_greater(Runtime&, const Value& v, Args a) { return compare(v, a[0], ">") > 0; }
bool is_greater_equal(Runtime&, const Value& v, Args a) { return compare(v, a[0], ">=") >= 0; }

constexpr TestEntry kTests[] = {
    {"boolean", 0, is_kind<Kind::kBool>},
    {"callable", 0,
     [](Runtime&, const Value& v, Args) { return v.is_undefined() || (v.is(Kind::kObject) && v.object->callable()); }},
    {"defined", 0, [](Runtime&, const Value& v, Args) { return !v.is_undefined(); }},
    {"divisibleby", 1, [](Runtime& rt, const Value& v, Args a) { return is_remainder(rt, v, a[0], 0); }},
    {"escaped", 0, [](Runtime&, const Value& v, Args) { return v.markup; }},
    {"even", 0, [](Runtime& rt, const Value& v, Args) { return is_remainder(rt, v, Value(Int(2)), 0); }},
    {"false", 0, [](Runtime&, const Value& v, Args) { return v.is(Kind::kBool) && !v.boolean; }},
    {"filter", 0, [](Runtime&, const Value& v, Args) { return v.is_string() && is_filter(*v.string); }},
    {"float", 0, is_kind<Kind::kFloat>},
    {"in", 1, [](Runtime& rt, const Value& v, Args a) { return rt.spend_on(a[0]), contains(a[0], v); }},
    {"integer", 0, is_kind<Kind::kInt>},
    {"iterable", 0, [](Runtime&, const Value& v, Args) { return is_iterable(v); }},
    {"lower", 0, [](Runtime&, const Value& v, Args) { return all_cased_lower(to_text(v)); }},
    {"mapping", 0, is_kind<Kind::kDict>},
    {"none", 0, is_kind<Kind::kNone>},
    {"number", 0, [](Runtime&, const Value& v, Args) { return v.is_number(); }},
    {"odd", 0, [](Runtime& rt, const Value& v, Args) { return is_remainder(rt, v, Value(Int(2)), 1); }},
    {"sameas", 1, [](Runtime&, const Value& v, Args a) { return identical(v, a[0]); }},
    {"sequence", 0, [](Runtime&, const Value& v, Args) { return is_iterable(v); }},
    {"string", 0, is_kind<Kind::kString>},
    {"test", 0, [](Runtime&, const Value& v, Args) { return v.is_string() && is_test(*v.string); }},
    {"true", 0, [](Runtime&, const Value& v, Args) { return v.is(Kind::kBool) && v.boolean; }},
    {"undefined", 0, is_kind<Kind::kUndefined>},
    {"upper", 0, [](Runtime&, const Value& v, Args) { return all_cased_upper(to_text(v)); }},
    {"eq", 1, is_equal},
    {"equalto", 1, is_equal},
    {"==", 1, is_equal},
    {"ne", 1, is_unequal},
    {"!=", 1, is_unequal},
    {"lt", 1, is_less},
    {"lessthan", 1, is_less},
    {"<", 1, is_less},
    {"le", 1, is_less_equal},
    {"<=", 1, is_less_equal},
    {"gt", 1, is_greater},
    {"greaterthan", 1, is_greater},
    {">", 1, is_greater},
    {"ge", 1, is_greater_equal},
    {">=", 1, is_greater_equal},
};

const TestEntry* find_test(std::string_view name) {
  for (const TestEntry& t : kTests) {
    if (name == t.name) return &t;
  }
  return nullptr;
}

}  // namespace

bool is_test(std::string_view name) { return find_test(name) != nullptr; }

bool apply_test(Runtime& rt, std::string_view name, const Value& input, const CallArgs& args) {
  const TestEntry* test = find_test(name);
  if (!test) throw Fault(fmt::format("there is no test named '{}'", name));
  if (args.positional.size() != test->n_args || !args.named.empty()) {
    throw Fault(fmt::format("the test '{}' takes {} arguments, {} given", name, test->n_args,
                            args.positional.size() + args.named.size()));
  }
  rt.spend_on(input);
  return test->holds(rt, input, args.positional);
}

}  // namespace hunch::jinja
