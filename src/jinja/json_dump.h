// Values as JSON text, byte for byte as Python's json.dumps writes it.
#pragma once
#include <optional>
#include <string>

#include "jinja/value.h"

namespace hunch::jinja {

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // nullopt: one line
  std::string item_separator = ", ";  // "," when indented, unless given
  std::string key_separator = ": ";
};

// Throws Fault for what JSON cannot hold: undefined, functions, keys that are containers.
std::string dump_json(const Value& value, const JsonStyle& style);

}  // namespace hunch::jinja
