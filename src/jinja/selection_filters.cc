// map, select, reject and their attribute forms: filters that apply filters and tests to items.
#include <fmt/format.h>

#include "jinja/filters.h"
#include "jinja/sorting.h"

namespace hunch::jinja {
namespace {

// The arguments from position `n` on, which belong to the inner filter or test.
CallArgs without_first(const CallArgs& args, size_t n) {
  CallArgs rest = args;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + ptrdiff_t(n));
  return rest;
}

std::string name_at(const CallArgs& args, size_t i, std::string_view filter) {
  if (!args.positional[i].is_string()) {
    throw Fault(fmt::format("{}: expected a name as a str, found {}", filter, type_name(args.positional[i])));
  }
  return *args.positional[i].string;
}

Value map(Runtime& rt, const Value& input, const CallArgs& args) {
  std::vector<Value> out;
  if (!truthy(input)) return rt.heap.list({}, true);  // none included
  if (args.positional.empty()) {
    const Params p("map", args, {"attribute", "default"}, 1);
    for (const Value& item : iterate(rt.heap, input)) {
      const Value found = follow_path(rt.heap, item, p[0]);
      out.push_back(found.is_undefined() && p.has(1) && !p[1].is_none() ? p[1] : found);
    }
  } else {
    const std::string filter = name_at(args, 0, "map");
    const CallArgs rest = without_first(args, 1);
    for (const Value& item : iterate(rt.heap, input)) out.push_back(apply_filter(rt, filter, item, rest));
  }
  return rt.heap.list(std::move(out), true);
}

template <bool kKeep, bool kByAttribute>
Value select(Runtime& rt, const Value& input, const CallArgs& args) {
  constexpr size_t kFirst = kByAttribute ? 1 : 0;
  const char* self = kByAttribute ? (kKeep ? "selectattr" : "rejectattr") : (kKeep ? "select" : "reject");
  if (!truthy(input)) return rt.heap.list({}, true);  // none included
  if (args.positional.size() < kFirst) throw Fault(fmt::format("{} needs the name of an attribute", self));
  const bool has_test = args.positional.size() > kFirst;
  const std::string test = has_test ? name_at(args, kFirst, self) : "";
  const CallArgs rest = has_test ? without_first(args, kFirst + 1) : CallArgs{};
  std::vector<Value> out;
  for (const Value& item : iterate(rt.heap, input)) {
    const Value subject = kByAttribute ? follow_path(rt.heap, item, args.positional[0]) : item;
    const bool holds = has_test ? apply_test(rt, test, subject, rest) : truthy(subject);
    if (holds == kKeep) out.push_back(item);
  }
  return rt.heap.list(std::move(out), true);
}

constexpr FilterEntry kFilters[] = {
    {"map", map},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
};

}  // namespace

std::span<const FilterEntry> selection_filters() { return kFilters; }

}  // namespace hunch::jinja
