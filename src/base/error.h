// The two kinds of failure. A bug of ours aborts (CHECK). The world's fault (a file, a flag, a
// request, memory) throws Error, which is caught in two places: `main` and the request handler.
#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace hunch {

enum class ErrorKind {
  kUsage,        // a flag or argument that cannot be meant (exit code 2)
  kFormat,       // a file's bytes are not what its format demands
  kUnsupported,  // well-formed, but nothing hunch can do (unknown architecture, dtype, ...)
  kNotFound,     // a file, tensor, key or hub id is missing
  kIo,           // the operating system refused: read, write, disk full
  kNetwork,      // the hub did not answer, or not as it should
  kMemory,       // not enough memory for what was asked
  kLimit,        // a request over a limit: context length, batch size
  kInterrupted,  // the user pressed Ctrl-C
};

// Name of a kind as it appears in JSON errors, e.g. "format".
const char* name_of(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

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
#define HUNCH_CHECK(condition, ...)                                                           \
  do {                                                                                        \
    if (!(condition)) [[unlikely]]                                                            \
      ::hunch::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
