#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace hunch {

const char* name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage: return "usage";
    case ErrorKind::kFormat: return "format";
    case ErrorKind::kUnsupported: return "unsupported";
    case ErrorKind::kNotFound: return "not_found";
    case ErrorKind::kIo: return "io";
    case ErrorKind::kNetwork: return "network";
    case ErrorKind::kMemory: return "memory";
    case ErrorKind::kLimit: return "limit";
    case ErrorKind::kInterrupted: return "interrupted";
  }
  return "unknown";
}

void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  std::fprintf(stderr, "%s:%d: check failed: %s %s\nThis is a bug in hunch; please report it with the command line.\n",
               file, line, condition, message.c_str());
  std::abort();
}

}  // namespace hunch
