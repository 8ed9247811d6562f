// Python's operations on values: truth, text, comparison, arithmetic, subscripts. What Python would
// answer with an exception throws Fault.
#pragma once
#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/value.h"

namespace hunch::jinja {

bool truthy(const Value& value);
// How a value prints: str(value). Undefined prints nothing.
std::string to_text(const Value& value);
// How a value prints inside a container: repr(value).
std::string to_repr(const Value& value);
std::string float_to_text(double value);
std::string int_to_text(Int value);

bool equal(const Value& a, const Value& b);
// True when both are the same object: `is sameas`.
bool identical(const Value& a, const Value& b);
// The order of two numbers, strings, or sequences; others have none.
std::partial_ordering compare(const Value& a, const Value& b, std::string_view op);
bool contains(const Value& container, const Value& item);

// op is one of + - * / // % ** ~ (and / or are control flow, not operations).
Value binary(Heap& heap, std::string_view op, const Value& a, const Value& b);
Value negate(const Value& value);

// The items over which {% for %} runs: of a list, characters of a string, keys of a dict, none of undefined.
std::vector<Value> iterate(Heap& heap, const Value& value);
bool is_iterable(const Value& value);
size_t length(const Value& value);

// object.name: a method or attribute, then an item of that name; undefined where there is neither.
Value get_attribute(Heap& heap, const Value& object, std::string_view name);
// object[key]: an item, then for a string key an attribute of that name; undefined where there is neither.
Value get_item(Heap& heap, const Value& object, const Value& key);
// object[start:stop:step] with None for what is left out.
Value slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step);

}  // namespace hunch::jinja
