// Numbers and strings in fields of a given width and precision: what printf-style and str.format share.
#pragma once
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace hunch::jinja {

struct FormatSpec {
  std::string fill = " ";
  char align = '\0';       // '<' '>' '^' '='; '\0': by type
  char sign = '-';         // '+', '-', ' '
  bool alternate = false;  // '#'
  bool thousands = false;
  int width = 0;
  int precision = -1;  // -1: not given
  char type = '\0';    // s d x X o b c e E f F g G %; '\0': as str() prints it
};

// Parses [[fill]align][sign][#][0][width][,][.precision][type]. Throws Fault.
FormatSpec parse_format_spec(std::string_view text);
// Throws Fault when the type does not suit the value.
std::string format_value(const Value& value, const FormatSpec& spec);

}  // namespace hunch::jinja
