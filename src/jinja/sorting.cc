#include "jinja/sorting.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "jinja/unicode.h"

namespace hunch::jinja {

void sort_values(std::vector<Value>& items, const std::vector<Value>& keys, bool descending) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Merge sort: unlike an introsort, it stays in bounds when NaN makes the order inconsistent.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return descending ? compare(keys[b], keys[a], "<") < 0 : compare(keys[a], keys[b], "<") < 0;
  });
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (size_t i : order) sorted.push_back(items[i]);
  items = std::move(sorted);
}

Value follow_path(Heap& heap, Value item, const Value& path) {
  if (!path.is_string()) return get_item(heap, item, path);
  std::string_view rest = *path.string;
  while (true) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    int64_t number = 0;
    const auto r = std::from_chars(part.data(), part.data() + part.size(), number);
    const bool is_number = !part.empty() && r.ec == std::errc() && r.ptr == part.data() + part.size() && number >= 0;
    item = get_item(heap, item, is_number ? Value(Int(number)) : heap.string(std::string(part)));
    if (dot == std::string_view::npos) return item;
    rest.remove_prefix(dot + 1);
  }
}

Value ignore_case(Heap& heap, const Value& value) {
  return value.is_string() ? heap.string(to_lower(*value.string)) : value;
}

}  // namespace hunch::jinja
