#include "jinja/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

constexpr int kMaxNesting = 200;  // of containers inside containers; a list may contain itself

void check_depth(int depth) {
  if (depth > kMaxNesting) throw Fault(fmt::format("values are nested more than {} deep", kMaxNesting));
}

void append_string_repr(std::string_view text, std::string& out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    if (c.value == quote || c.value == '\\') {
      out += '\\', out += char(c.value);
    } else if (c.value == '\n') {
      out += "\\n";
    } else if (c.value == '\r') {
      out += "\\r";
    } else if (c.value == '\t') {
      out += "\\t";
    } else if (c.value < 0 || is_printable(c.value)) {
      out += text.substr(at, c.n_bytes);
    } else if (c.value < 0x100) {
      out += fmt::format("\\x{:02x}", c.value);
    } else if (c.value < 0x10000) {
      out += fmt::format("\\u{:04x}", c.value);
    } else {
      out += fmt::format("\\U{:08x}", c.value);
    }
    at += c.n_bytes;
  }
  out += quote;
}

void append_repr(const Value& value, std::string& out, int depth) {
  check_depth(depth);
  check_text_size(out.size());
  switch (value.kind) {
    case Kind::kUndefined: out += "Undefined"; return;
    case Kind::kNone: out += "None"; return;
    case Kind::kBool: out += value.boolean ? "True" : "False"; return;
    case Kind::kInt: out += int_to_text(value.integer); return;
    case Kind::kFloat: out += float_to_text(value.number); return;
    case Kind::kString:
      if (value.markup) out += "Markup(";
      append_string_repr(*value.string, out);
      if (value.markup) out += ')';
      return;
    case Kind::kObject: out += value.object->describe(); return;
    case Kind::kList:
    case Kind::kTuple: {
      const auto& items = value.list->items;
      const bool tuple = value.is(Kind::kTuple);
      out += tuple ? '(' : '[';
      for (size_t i = 0; i < items.size(); i++) {
        if (i > 0) out += ", ";
        append_repr(items[i], out, depth + 1);
      }
      if (tuple && items.size() == 1) out += ',';
      out += tuple ? ')' : ']';
      return;
    }
    case Kind::kDict: {
      out += '{';
      bool first = true;
      for (const auto& [key, item] : value.dict->items()) {
        if (!first) out += ", ";
        first = false;
        append_repr(key, out, depth + 1);
        out += ": ";
        append_repr(item, out, depth + 1);
      }
      out += '}';
      return;
    }
  }
}

// Bounds a comparison of containers that share parts, which could visit them exponentially often.
struct Effort {
  int64_t n_left = 5'000'000;
  void spend() {
    if (--n_left < 0) throw Fault("a comparison of very large values");
  }
};

bool equal_at(const Value& a, const Value& b, Effort& effort, int depth) {
  check_depth(depth);
  effort.spend();
  if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kString: return *a.string == *b.string;
    case Kind::kObject: return a.object == b.object;
    case Kind::kList:
    case Kind::kTuple: {
      const auto &x = a.list->items, &y = b.list->items;
      return a.list == b.list ||
             std::equal(x.begin(), x.end(), y.begin(), y.end(),
                        [&](const Value& p, const Value& q) { return equal_at(p, q, effort, depth + 1); });
    }
    case Kind::kDict: {
      if (a.dict == b.dict) return true;
      if (a.dict->size() != b.dict->size()) return false;
      for (const auto& [key, item] : a.dict->items()) {
        const Value* other = b.dict->find(key);
        if (!other || !equal_at(item, *other, effort, depth + 1)) return false;
      }
      return true;
    }
    default: return false;
  }
}

std::partial_ordering compare_at(const Value& a, const Value& b, std::string_view op, Effort& effort, int depth) {
  check_depth(depth);
  if (a.is_integral() && b.is_integral()) return a.as_int() <=> b.as_int();
  if (a.is_number() && b.is_number()) return a.as_double() <=> b.as_double();
  // UTF-8 sorts by bytes as it does by code points.
  if (a.is_string() && b.is_string()) return a.string->compare(*b.string) <=> 0;
  if (a.is_sequence() && a.kind == b.kind) {
    const auto &x = a.list->items, &y = b.list->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); i++) {
      if (!equal_at(x[i], y[i], effort, depth + 1)) return compare_at(x[i], y[i], op, effort, depth + 1);
    }
    return x.size() <=> y.size();
  }
  for (const Value* v : {&a, &b}) {
    if (v->is_undefined()) throw Fault(*v->string);
  }
  throw Fault(fmt::format("'{}' not supported between {} and {}", op, type_name(a), type_name(b)));
}

}  // namespace

bool truthy(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool: return value.boolean;
    case Kind::kInt: return value.integer != 0;
    case Kind::kFloat: return value.number != 0;
    case Kind::kString: return !value.string->empty();
    case Kind::kList:
    case Kind::kTuple: return value.list->lazy || !value.list->items.empty();
    case Kind::kDict: return value.dict->size() > 0;
    case Kind::kObject: return true;
  }
  return false;
}

std::string int_to_text(Int value) { return fmt::format("{}", value); }

std::string float_to_text(double value) {
  if (std::isnan(value)) return "nan";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".ein") == std::string::npos) text += ".0";
  return text;
}

std::string to_text(const Value& value) {
  if (value.is_string()) return *value.string;
  if (value.is_undefined()) return "";
  return to_repr(value);
}

std::string to_repr(const Value& value) {
  std::string out;
  append_repr(value, out, 0);
  return out;
}

bool equal(const Value& a, const Value& b) {
  Effort effort;
  return equal_at(a, b, effort, 0);
}

bool identical(const Value& a, const Value& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kList:
    case Kind::kTuple: return a.list == b.list;
    case Kind::kDict: return a.dict == b.dict;
    default: return equal(a, b);
  }
}

std::partial_ordering compare(const Value& a, const Value& b, std::string_view op) {
  Effort effort;
  return compare_at(a, b, op, effort, 0);
}

bool contains(const Value& container, const Value& item) {
  switch (container.kind) {
    case Kind::kString:
      if (!item.is_string()) throw Fault(fmt::format("'in <str>' needs a str on its left, found {}", type_name(item)));
      return container.string->find(*item.string) != std::string::npos;
    case Kind::kList:
    case Kind::kTuple:
      return std::any_of(container.list->items.begin(), container.list->items.end(),
                         [&](const Value& v) { return equal(v, item); });
    case Kind::kDict: return container.dict->find(item) != nullptr;
    case Kind::kUndefined: return false;
    default: throw Fault(fmt::format("{} is not a container; 'in' needs a str, list or dict", type_name(container)));
  }
}

}  // namespace hunch::jinja
