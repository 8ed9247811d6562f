// Several texts of one command: its arguments, or the lines of a file.
#pragma once
#include <string>
#include <vector>

#include "cli/flags.h"

namespace hunch::cli {

// The arguments, else the lines of the file, else those of standard input. A line end at the end begins no further
// line; what is empty is a text. Throws Error{kUsage} where arguments and file are given, or none and there is a
// terminal; `what` is missing then.
std::vector<std::string> texts_of(const TextsFlags& flags, const char* what);

}  // namespace hunch::cli
