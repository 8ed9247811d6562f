#include "jinja/filters.h"

#include <fmt/format.h>

namespace hunch::jinja {
namespace {

const FilterEntry* find_filter(std::string_view name) {
  for (const auto filters : {text_filters(), sequence_filters(), selection_filters(), value_filters()}) {
    for (const FilterEntry& f : filters) {
      if (name == f.name) return &f;
    }
  }
  return nullptr;
}

}  // namespace

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }

Value apply_filter(Runtime& rt, std::string_view name, const Value& input, const CallArgs& args) {
  const FilterEntry* filter = find_filter(name);
  if (!filter) throw Fault(fmt::format("there is no filter named '{}'", name));
  rt.spend_on(input);
  return filter->apply(rt, input, args);
}

}  // namespace hunch::jinja
