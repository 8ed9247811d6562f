#include "jinja/json_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

constexpr int kMaxDepth = 200;

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value, int depth) {
    if (depth > kMaxDepth) throw Fault("tojson: values are nested too deeply, or a container holds itself");
    check_text_size(out_.size());
    switch (value.kind) {
      case Kind::kNone: out_ += "null"; return;
      case Kind::kBool: out_ += value.boolean ? "true" : "false"; return;
      case Kind::kInt: out_ += int_to_text(value.integer); return;
      case Kind::kFloat: out_ += float_text(value.number); return;
      case Kind::kString: write_string(*value.string); return;
      case Kind::kList:
      case Kind::kTuple: write_list(*value.list, depth); return;
      case Kind::kDict: write_dict(*value.dict, depth); return;
      case Kind::kUndefined: throw Fault(fmt::format("tojson: {}", *value.string));
      case Kind::kObject: break;
    }
    throw Fault(fmt::format("tojson: a {} cannot be written as JSON", type_name(value)));
  }

  std::string take() { return std::move(out_); }

 private:
  static std::string float_text(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_to_text(value);
  }

  void new_line(int depth) {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < depth; i++) out_ += *style_.indent;
  }

  void write_list(const List& list, int depth) {
    if (list.items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (size_t i = 0; i < list.items.size(); i++) {
      if (i > 0) out_ += style_.item_separator;
      new_line(depth + 1);
      write(list.items[i], depth + 1);
    }
    new_line(depth);
    out_ += ']';
  }

  static std::string key_text(const Value& key) {
    switch (key.kind) {
      case Kind::kString: return *key.string;
      case Kind::kNone: return "null";
      case Kind::kBool: return key.boolean ? "true" : "false";
      case Kind::kInt: return int_to_text(key.integer);
      case Kind::kFloat: return float_text(key.number);
      default: throw Fault(fmt::format("tojson: a dict key must be a str or number, found {}", type_name(key)));
    }
  }

  void write_dict(const Dict& dict, int depth) {
    if (dict.size() == 0) {
      out_ += "{}";
      return;
    }
    std::vector<std::pair<Value, Value>> items = dict.items();
    if (style_.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto& a, const auto& b) { return compare(a.first, b.first, "<") < 0; });
    }
    out_ += '{';
    bool first = true;
    for (const auto& [key, value] : items) {
      if (!first) out_ += style_.item_separator;
      first = false;
      new_line(depth + 1);
      write_string(key_text(key));
      out_ += style_.key_separator;
      write(value, depth + 1);
    }
    new_line(depth);
    out_ += '}';
  }

  void write_string(std::string_view text) {
    out_ += '"';
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = decode_at(text, at);
      const std::string_view bytes = text.substr(at, c.n_bytes);
      at += c.n_bytes;
      switch (c.value) {
        case '"': out_ += "\\\""; continue;
        case '\\': out_ += "\\\\"; continue;
        case '\n': out_ += "\\n"; continue;
        case '\r': out_ += "\\r"; continue;
        case '\t': out_ += "\\t"; continue;
        case '\f': out_ += "\\f"; continue;
        case '\b': out_ += "\\b"; continue;
        default: break;
      }
      const bool escaped = (c.value >= 0 && c.value < 0x20) || (style_.ensure_ascii && c.value >= 0x7F);
      if (!escaped || c.value == 0x7F) {
        out_ += bytes;
      } else if (c.value < 0x10000) {
        out_ += fmt::format("\\u{:04x}", c.value);
      } else {
        const int32_t rest = c.value - 0x10000;
        out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
      }
    }
    out_ += '"';
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

std::string dump_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace hunch::jinja
