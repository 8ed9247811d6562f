// printf-style formatting: text % values.
#pragma once
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace hunch::jinja {

// Replaces %s, %d, %5.2f, %(key)s ... by `values`: a tuple of as many values as there are fields, a
// dict for named fields, or one value. Throws Fault when they do not fit.
std::string percent_format(std::string_view text, const Value& values);

}  // namespace hunch::jinja
