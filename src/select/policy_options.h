// What a key policy was told after its budget, and what it expects of that.
#pragma once
#include <cmath>
#include <map>
#include <string_view>

#include "base/error.h"

namespace hunch {

using PolicyOptions = std::map<std::string_view, double>;  // those of the policy, all of them

// Throw Error{kUsage}.
inline void expect_share(const PolicyOptions& options, std::string_view name, double least) {
  if (const double value = options.at(name); !(value >= least && value <= 1))
    fail(ErrorKind::kUsage, "the key policy (kv_policy) has {} {}, expected a share from {} to 1", name, value, least);
}
inline void expect_count(const PolicyOptions& options, std::string_view name, double least, double most) {
  if (const double value = options.at(name); !(value >= least && value <= most && value == std::floor(value)))
    fail(ErrorKind::kUsage, "the key policy (kv_policy) has {} {}, expected a whole number from {} to {}", name, value,
         least, most);
}

}  // namespace hunch
