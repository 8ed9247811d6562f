// Comma-separated values as RFC 4180 has them, and as Python's csv reads what bends it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace hunch {

struct CsvRecord {
  std::vector<std::string> fields;
  size_t line = 0;  // where it begins, from 1
};

// A field that begins with a quote ends with one, may hold commas and line ends, and doubles its quotes; elsewhere a
// quote is a character like others. Empty lines are left out. `name` is the file's, for messages. Throws
// Error{kFormat} for a quote that is never closed.
std::vector<CsvRecord> parse_csv(std::string_view text, std::string_view name);

}  // namespace hunch
