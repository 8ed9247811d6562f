// The two kinds of failure. A bug of ours aborts (CHECK). The world's fault (a file, a flag, a
// request, memory) throws Error, which is caught in two places: `main` and the request handler.
#pragma once
#include <fmt/format.h>

#include <string>

#include "hunch/error.h"

namespace hunch {

// Throws Error with a formatted message. A message names the thing, what was expected, what was
// found, and the next step where there is one.
template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace hunch

// Aborts with a message when `condition` is false. For our own bugs only, never for data from
// outside. On in release builds: keep it out of inner loops.
#define HUNCH_CHECK(condition, ...)                                                         \
  do {                                                                                      \
    if (!(condition)) [[unlikely]]                                                          \
      ::hunch::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
