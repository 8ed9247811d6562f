// Where tests find data: fixtures of the repository, and the larger data set beside it, if present.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace hunch {

// $HUNCH_SHARED, or the folder `shared` beside the source tree; nullopt where neither exists.
// A test that needs it skips and says so.
inline std::optional<std::filesystem::path> shared_dir() {
  namespace fs = std::filesystem;
  const char* env = std::getenv("HUNCH_SHARED");
#ifdef HUNCH_SOURCE_DIR
  const fs::path path = env ? fs::path(env) : fs::path(HUNCH_SOURCE_DIR) / ".." / "shared";
#else
  const fs::path path = env ? fs::path(env) : fs::path("../shared");
#endif
  if (fs::is_directory(path)) return path;
  return std::nullopt;
}

}  // namespace hunch
