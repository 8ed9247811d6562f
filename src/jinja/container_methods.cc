// Methods of lists, tuples and dicts. Containers that came in as variables were copied into the
// rendering's heap, so that changing them stays inside the template.
#include <fmt/format.h>

#include <algorithm>

#include "jinja/methods.h"
#include "jinja/sorting.h"

namespace hunch::jinja {
namespace {

// Index for list methods: negative from the end; nullopt where there is no such item.
std::optional<size_t> item_index(const List& list, Int i) {
  const Int n = Int(list.items.size());
  if (i < 0) i += n;
  if (i < 0 || i >= n) return std::nullopt;
  return size_t(i);
}

size_t position_of(const Value& self, const Value& item) {
  const auto& items = self.list->items;
  const auto it = std::find_if(items.begin(), items.end(), [&](const Value& v) { return equal(v, item); });
  if (it == items.end()) throw Fault("the value is not in the list");
  return size_t(it - items.begin());
}

Value append(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("append()", args, {"object"}, 1);
  rt.heap.charge(sizeof(Value));
  self.list->items.push_back(p[0]);
  return Value();
}

Value extend(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("extend()", args, {"iterable"}, 1);
  const std::vector<Value> more = iterate(rt.heap, p[0]);
  self.list->items.insert(self.list->items.end(), more.begin(), more.end());
  return Value();
}

Value insert(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("insert()", args, {"index", "object"}, 2);
  auto& items = self.list->items;
  const Int n = Int(items.size()), i = p.integer(0, 0);
  rt.heap.charge(sizeof(Value));
  rt.spend_on(self);
  items.insert(items.begin() + ptrdiff_t(std::clamp(i < 0 ? i + n : i, Int(0), n)), p[1]);
  return Value();
}

Value pop_item(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("pop()", args, {"index"});
  rt.spend_on(self);
  const auto i = item_index(*self.list, p.integer(0, -1));
  if (!i) throw Fault("pop() from an empty list, or with an index out of range");
  const Value item = self.list->items[*i];
  self.list->items.erase(self.list->items.begin() + ptrdiff_t(*i));
  return item;
}

Value remove(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("remove()", args, {"value"}, 1);
  rt.spend_on(self);
  self.list->items.erase(self.list->items.begin() + ptrdiff_t(position_of(self, p[0])));
  return Value();
}

Value index(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("index()", args, {"value"}, 1);
  rt.spend_on(self);
  return Value(Int(position_of(self, p[0])));
}

Value count(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("count()", args, {"value"}, 1);
  rt.spend_on(self);
  const auto& items = self.list->items;
  return Value(Int(std::count_if(items.begin(), items.end(), [&](const Value& v) { return equal(v, p[0]); })));
}

Value reverse(Runtime& rt, const Value& self, const CallArgs& args) {
  Params("reverse()", args, {});
  rt.spend_on(self);
  std::reverse(self.list->items.begin(), self.list->items.end());
  return Value();
}

Value sort(Runtime& rt, const Value& self, const CallArgs& args) {
  for (const auto& [name, value] : args.named) {
    if (name != "reverse") throw Fault(fmt::format("sort() has no argument named '{}' here", name));
  }
  const bool descending = !args.named.empty() && truthy(args.named[0].second);
  rt.spend_on(self);
  sort_values(self.list->items, self.list->items, descending);
  return Value();
}

Value clear_list(Runtime&, const Value& self, const CallArgs& args) {
  Params("clear()", args, {});
  self.list->items.clear();
  return Value();
}

Value copy_list(Runtime& rt, const Value& self, const CallArgs& args) {
  Params("copy()", args, {});
  return rt.heap.list(self.list->items);
}

Value get(Runtime&, const Value& self, const CallArgs& args) {
  const Params p("get()", args, {"key", "default"}, 1);
  const Value* found = self.dict->find(p[0]);
  return found ? *found : p.value(1);
}

Value items(Runtime& rt, const Value& self, const CallArgs& args) {
  Params("items()", args, {});
  std::vector<Value> pairs;
  for (const auto& [key, item] : self.dict->items()) pairs.push_back(rt.heap.tuple({key, item}));
  return rt.heap.list(std::move(pairs));
}

Value keys(Runtime& rt, const Value& self, const CallArgs& args) {
  Params("keys()", args, {});
  return rt.heap.list(iterate(rt.heap, self));
}

Value values(Runtime& rt, const Value& self, const CallArgs& args) {
  Params("values()", args, {});
  std::vector<Value> out;
  for (const auto& [key, item] : self.dict->items()) out.push_back(item);
  return rt.heap.list(std::move(out));
}

void set_item(Runtime& rt, Dict& dict, const Value& key, const Value& value) {
  constexpr size_t kBytesPerEntry = 3 * sizeof(Value);
  rt.heap.charge(kBytesPerEntry + (key.is_string() ? key.string->size() : 0));
  dict.set(key, value);
}

Value update(Runtime& rt, const Value& self, const CallArgs& args) {
  CallArgs positional{args.positional, {}};
  const Params p("update()", positional, {"other"});
  if (p.has(0)) {
    if (!p[0].is(Kind::kDict)) throw Fault(fmt::format("update() needs a dict, found {}", type_name(p[0])));
    const auto entries = p[0].dict->items();
    for (const auto& [key, item] : entries) set_item(rt, *self.dict, key, item);
  }
  for (const auto& [name, item] : args.named) set_item(rt, *self.dict, rt.heap.string(name), item);
  return Value();
}

Value setdefault(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("setdefault()", args, {"key", "default"}, 1);
  if (const Value* found = self.dict->find(p[0])) return *found;
  set_item(rt, *self.dict, p[0], p.value(1));
  return p.value(1);
}

Value pop_key(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("pop()", args, {"key", "default"}, 1);
  rt.spend_on(self);
  const Value* found = self.dict->find(p[0]);
  if (!found) {
    if (p.has(1)) return p[1];
    throw Fault(fmt::format("pop(): the dict has no key {}", to_repr(p[0])));
  }
  const Value value = *found;
  self.dict->erase(p[0]);
  return value;
}

Value clear_dict(Runtime&, const Value& self, const CallArgs& args) {
  Params("clear()", args, {});
  self.dict->clear();
  return Value();
}

Value copy_dict(Runtime& rt, const Value& self, const CallArgs& args) {
  Params("copy()", args, {});
  Dict* copy = rt.heap.dict();
  for (const auto& [key, item] : self.dict->items()) set_item(rt, *copy, key, item);
  return Value(copy);
}

constexpr Method kListMethods[] = {{"append", append}, {"clear", clear_list}, {"copy", copy_list}, {"count", count},
                                   {"extend", extend}, {"index", index},      {"insert", insert},  {"pop", pop_item},
                                   {"remove", remove}, {"reverse", reverse},  {"sort", sort}};
constexpr Method kTupleMethods[] = {{"count", count}, {"index", index}};
constexpr Method kDictMethods[] = {{"clear", clear_dict},      {"copy", copy_dict}, {"get", get},
                                   {"items", items},           {"keys", keys},      {"pop", pop_key},
                                   {"setdefault", setdefault}, {"update", update},  {"values", values}};

template <size_t N>
const Method* find_in(const Method (&methods)[N], std::string_view name) {
  for (const Method& m : methods) {
    if (name == m.name) return &m;
  }
  return nullptr;
}

}  // namespace

const Method* find_list_method(std::string_view name) { return find_in(kListMethods, name); }
const Method* find_tuple_method(std::string_view name) { return find_in(kTupleMethods, name); }
const Method* find_dict_method(std::string_view name) { return find_in(kDictMethods, name); }

}  // namespace hunch::jinja
