// Sorting and grouping by keys.
#pragma once
#include <string_view>
#include <vector>

#include "jinja/runtime.h"

namespace hunch::jinja {

// Sorts `items` stably by `keys` (of the same length; may be the same vector). Throws Fault for keys without order.
void sort_values(std::vector<Value>& items, const std::vector<Value>& keys, bool descending);

// item.a.b.0 as filters name it: attribute="a.b.0" (or an int); items before attributes at each step.
Value follow_path(Heap& heap, Value item, const Value& path);
// The text in lower case; other values as they are. What comparisons of filters use unless case_sensitive.
Value ignore_case(Heap& heap, const Value& value);

}  // namespace hunch::jinja
