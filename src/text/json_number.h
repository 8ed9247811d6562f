// Integers from JSON. nlohmann's own get<int64_t>() converts floating-point numbers without a check.
#pragma once
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace hunch {

// The integer, or Error{kFormat} saying what was expected in `where`.
inline int64_t json_integer(const nlohmann::json& value, const char* where) {
  if (!value.is_number_integer())
    fail(ErrorKind::kFormat, "{}: expected an integer, found {}", where, value.type_name());
  return value.get<int64_t>();
}

}  // namespace hunch
