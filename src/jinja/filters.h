// Filters (value | name(args)) and tests (value is name(args)).
#pragma once
#include <span>
#include <string_view>

#include "jinja/runtime.h"

namespace hunch::jinja {

struct FilterEntry {
  const char* name;
  Value (*apply)(Runtime&, const Value& input, const CallArgs&);
};

// Both throw Fault for an unknown name.
Value apply_filter(Runtime& rt, std::string_view name, const Value& input, const CallArgs& args);
bool apply_test(Runtime& rt, std::string_view name, const Value& input, const CallArgs& args);

bool is_filter(std::string_view name);
bool is_test(std::string_view name);

// The filters by subject; apply_filter looks through all of them.
std::span<const FilterEntry> text_filters();
std::span<const FilterEntry> sequence_filters();
std::span<const FilterEntry> selection_filters();  // map, select, reject, selectattr, rejectattr
std::span<const FilterEntry> value_filters();      // numbers, conversions, default, tojson

}  // namespace hunch::jinja
