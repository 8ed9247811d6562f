// Errors of the engine name options as programs know them, "(n_ctx)"; here they are those of the command line.
#pragma once
#include <string>

namespace hunch::cli {

// "a larger context (n_ctx) has room" -> "a larger context (--ctx) has room".
std::string with_flags(std::string message);

}  // namespace hunch::cli
