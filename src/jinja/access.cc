// Reaching into values: attributes, items, slices, iteration.
#include <fmt/format.h>

#include <algorithm>

#include "jinja/methods.h"
#include "jinja/operators.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

constexpr size_t kMaxQuoted = 60;  // of a key in an error message

Value no_such(Heap& heap, const Value& object, std::string_view what) {
  return heap.undefined(
      fmt::format("'{} object' has no attribute '{}'", type_name(object), what.substr(0, kMaxQuoted)));
}

std::optional<Value> attribute_of(Heap& heap, const Value& object, std::string_view name) {
  if (object.is(Kind::kObject)) return object.object->attribute(heap, name);
  if (object.is_sequence() && object.list->field_names) {
    for (size_t i = 0; i < object.list->items.size(); i++) {
      if (name == object.list->field_names[i]) return object.list->items[i];
    }
  }
  if (const Method* method = find_method(object.kind, name)) {
    return Value(heap.object<BoundMethod>(object, *method));
  }
  return std::nullopt;
}

std::optional<Value> item_of(Heap& heap, const Value& object, const Value& key) {
  if (object.is(Kind::kDict)) {
    if (key.is(Kind::kList) || key.is(Kind::kDict) || key.is_undefined()) return std::nullopt;
    const Value* found = object.dict->find(key);
    return found ? std::optional<Value>(*found) : std::nullopt;
  }
  if (!key.is_integral() || !(object.is_string() || object.is_sequence())) return std::nullopt;
  const Int n = Int(length(object));
  const Int index = key.as_int() < 0 ? key.as_int() + n : key.as_int();
  if (index < 0 || index >= n) return std::nullopt;
  if (object.is_sequence()) return object.list->items[size_t(index)];
  return heap.string(std::string(characters(*object.string)[size_t(index)])).as_markup(object.markup);
}

}  // namespace

Value get_attribute(Heap& heap, const Value& object, std::string_view name) {
  if (object.is_undefined()) throw Fault(*object.string);
  if (auto found = attribute_of(heap, object, name)) return *found;
  if (object.is(Kind::kDict)) {
    if (const Value* found = object.dict->find(name)) return *found;
  }
  return no_such(heap, object, name);
}

Value get_item(Heap& heap, const Value& object, const Value& key) {
  if (object.is_undefined()) throw Fault(*object.string);
  if (auto found = item_of(heap, object, key)) return *found;
  if (key.is_string()) {
    if (auto found = attribute_of(heap, object, *key.string)) return *found;
    return no_such(heap, object, *key.string);
  }
  return heap.undefined(
      fmt::format("{} object has no element {}", type_name(object), to_repr(key).substr(0, kMaxQuoted)));
}

Value slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is_undefined()) throw Fault(*object.string);
  if (!object.is_string() && !object.is_sequence()) {
    return heap.undefined(fmt::format("a {} cannot be sliced", type_name(object)));
  }
  for (const Value* part : {&start, &stop, &step}) {
    if (!part->is_none() && !part->is_integral()) {
      throw Fault(fmt::format("the parts of a slice must be ints, found {}",
                              part->is_undefined() ? *part->string : type_name(*part)));
    }
  }
  const Int by = step.is_none() ? Int(1) : step.as_int();
  if (by == 0) throw Fault("the step of a slice cannot be zero");
  const Int n = Int(length(object));
  // Python's rules: negative counts from the end, then clamped to what the direction can reach.
  const Int lowest = by > 0 ? 0 : -1, highest = by > 0 ? n : n - 1;
  const auto place = [&](const Value& part, Int left_out) {
    if (part.is_none()) return left_out;
    const Int i = part.as_int() < 0 ? part.as_int() + n : part.as_int();
    return std::clamp(i, lowest, highest);
  };
  const Int from = place(start, by > 0 ? lowest : highest), to = place(stop, by > 0 ? highest : lowest);

  const auto for_each_index = [&](auto f) {
    for (Int i = from; by > 0 ? i < to : i > to;) {
      f(size_t(i));
      if (by > n || by < -n) break;  // one step leaves the sequence; adding could overflow
      i += by;
    }
  };
  if (object.is_string()) {
    const auto chars = characters(*object.string);
    std::string out;
    for_each_index([&](size_t i) { out += chars[i]; });
    return heap.string(std::move(out)).as_markup(object.markup);
  }
  std::vector<Value> items;
  for_each_index([&](size_t i) { items.push_back(object.list->items[i]); });
  return object.is(Kind::kTuple) ? heap.tuple(std::move(items)) : heap.list(std::move(items));
}

bool is_iterable(const Value& value) {
  return value.is_string() || value.is_sequence() || value.is(Kind::kDict) || value.is_undefined();
}

std::vector<Value> iterate(Heap& heap, const Value& value) {
  std::vector<Value> items;
  switch (value.kind) {
    case Kind::kUndefined: break;
    case Kind::kList:
    case Kind::kTuple:
      heap.charge(value.list->items.size() * sizeof(Value));
      items = value.list->items;
      break;
    case Kind::kDict:
      heap.charge(value.dict->size() * sizeof(Value));
      for (const auto& [key, item] : value.dict->items()) items.push_back(key);
      break;
    case Kind::kString:
      for (std::string_view c : characters(*value.string)) items.push_back(heap.string(std::string(c)));
      break;
    default: throw Fault(fmt::format("{} is not iterable", type_name(value)));
  }
  return items;
}

size_t length(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return 0;
    case Kind::kString: return n_code_points(*value.string);
    case Kind::kList:
    case Kind::kTuple: return value.list->items.size();
    case Kind::kDict: return value.dict->size();
    default: throw Fault(fmt::format("{} has no length", type_name(value)));
  }
}

}  // namespace hunch::jinja
