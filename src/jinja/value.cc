#include "jinja/value.h"

#include <fmt/format.h>

#include <cmath>

#include "jinja/operators.h"

namespace hunch::jinja {
namespace {

constexpr int kMaxKeyDepth = 50;

// A string that is equal for keys that Python holds equal: numbers by value, the rest by type.
void append_canonical_key(const Value& key, std::string& out, int depth) {
  if (depth > kMaxKeyDepth) throw Fault("a dict key is nested too deeply");
  check_text_size(out.size());
  switch (key.kind) {
    case Kind::kString: out += fmt::format("s{}:", key.string->size()), out += *key.string; return;
    case Kind::kNone: out += "n"; return;
    case Kind::kBool:
    case Kind::kInt: out += fmt::format("i{};", key.as_int()); return;
    case Kind::kFloat:
      if (std::abs(key.number) < 1e18 && std::trunc(key.number) == key.number) {
        out += fmt::format("i{};", int64_t(key.number));
      } else {
        out += fmt::format("f{};", key.number);
      }
      return;
    case Kind::kTuple:
      out += '(';
      for (const Value& item : key.list->items) append_canonical_key(item, out, depth + 1);
      out += ')';
      return;
    case Kind::kObject: out += fmt::format("o{};", static_cast<const void*>(key.object)); return;
    case Kind::kUndefined: throw Fault(*key.string);
    case Kind::kList:
    case Kind::kDict: break;
  }
  throw Fault(fmt::format("unhashable type: '{}' cannot be a dict key", type_name(key)));
}

std::string canonical_key(const Value& key) {
  std::string out;
  append_canonical_key(key, out, 0);
  return out;
}

}  // namespace

const Value* Dict::find(const Value& key) const {
  const auto it = index_.find(canonical_key(key));
  return it == index_.end() ? nullptr : &items_[it->second].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto it = index_.find(fmt::format("s{}:{}", key.size(), key));
  return it == index_.end() ? nullptr : &items_[it->second].second;
}

void Dict::set(const Value& key, const Value& value) {
  const auto [it, is_new] = index_.emplace(canonical_key(key), items_.size());
  if (is_new) {
    items_.emplace_back(key, value);
  } else {
    items_[it->second].second = value;
  }
}

bool Dict::erase(const Value& key) {
  const auto it = index_.find(canonical_key(key));
  if (it == index_.end()) return false;
  const size_t at = it->second;
  index_.erase(it);
  items_.erase(items_.begin() + ptrdiff_t(at));
  for (auto& [name, position] : index_) position -= position > at;
  return true;
}

void Dict::clear() {
  items_.clear();
  index_.clear();
}

Value Heap::string(std::string text) {
  charge(text.size() + sizeof(std::string));
  return Value(&strings_.emplace_back(std::move(text)));
}

Value Heap::undefined(std::string why) {
  Value v = string(std::move(why));
  v.kind = Kind::kUndefined;
  return v;
}

Value Heap::list(std::vector<Value> items, bool lazy) {
  charge(items.size() * sizeof(Value) + sizeof(List));
  return Value(&lists_.emplace_back(List{std::move(items), nullptr, lazy}), false);
}

Value Heap::tuple(std::vector<Value> items, const char* const* field_names) {
  charge(items.size() * sizeof(Value) + sizeof(List));
  return Value(&lists_.emplace_back(List{std::move(items), field_names, false}), true);
}

Dict* Heap::dict() {
  charge(sizeof(Dict));
  return &dicts_.emplace_back();
}

void Heap::refuse() const {
  throw Fault(
      fmt::format("the template needs more than {} MiB of values; it is probably in a runaway loop", max_bytes_ >> 20));
}

std::string type_name(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kString: return "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kDict: return "dict";
    case Kind::kObject: return value.object->type_name();
  }
  return "?";
}

Params::Params(std::string_view callee, const CallArgs& args, std::initializer_list<const char*> names,
               size_t n_required)
    : callee_(callee), names_(names), values_(names.size()) {
  if (args.positional.size() > names_.size()) {
    throw Fault(fmt::format("{} takes at most {} arguments, {} given", callee_, names_.size(), args.positional.size()));
  }
  for (size_t i = 0; i < args.positional.size(); i++) values_[i] = args.positional[i];
  for (const auto& [name, value] : args.named) {
    size_t i = 0;
    while (i < names_.size() && name != names_[i]) i++;
    if (i == names_.size()) throw Fault(fmt::format("{} has no argument named '{}'", callee_, name));
    if (values_[i]) throw Fault(fmt::format("{} got two values for argument '{}'", callee_, name));
    values_[i] = value;
  }
  for (size_t i = 0; i < n_required; i++) {
    if (!values_[i]) throw Fault(fmt::format("{} needs the argument '{}'", callee_, names_[i]));
  }
}

Int Params::integer(size_t i, Int fallback) const {
  if (!has(i)) return fallback;
  if (!values_[i]->is_integral()) {
    throw Fault(fmt::format("{}: argument '{}' must be an int, found {}", callee_, names_[i], type_name(*values_[i])));
  }
  return values_[i]->as_int();
}

bool Params::boolean(size_t i, bool fallback) const { return has(i) ? truthy(*values_[i]) : fallback; }

std::string Params::string(size_t i, std::string_view fallback) const {
  if (!has(i)) return std::string(fallback);
  if (!values_[i]->is_string()) {
    throw Fault(fmt::format("{}: argument '{}' must be a str, found {}", callee_, names_[i], type_name(*values_[i])));
  }
  return *values_[i]->string;
}

}  // namespace hunch::jinja
