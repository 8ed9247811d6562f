#include "base/home_folder.h"

#include <cstdlib>

#include "base/error.h"

namespace hunch {

std::filesystem::path hunch_home() {
  const char* own = std::getenv("HUNCH_HOME");
  if (own && *own) return own;
  const char* home = std::getenv("HOME");
  if (!home || !*home) fail(ErrorKind::kUsage, "cannot tell where HUNCH_HOME is: neither it nor HOME is set");
  return std::filesystem::path(home) / ".cache/hunch";
}

}  // namespace hunch
