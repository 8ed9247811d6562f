// Where tests find data: fixtures of the repository, and the larger data set beside it, if present.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>

namespace hunch {

// A file or folder of the shared data: `relative` to $HUNCH_SHARED or, where that is not set, to the folder `shared`
// beside the source tree; nullopt where it is not there. A test that needs it skips and says so.
inline std::optional<std::filesystem::path> shared_path(std::string_view relative) {
  namespace fs = std::filesystem;
  const char* env = std::getenv("HUNCH_SHARED");
#ifdef HUNCH_SOURCE_DIR
  const fs::path folder = env ? fs::path(env) : fs::path(HUNCH_SOURCE_DIR) / ".." / "shared";
#else
  const fs::path folder = env ? fs::path(env) : fs::path("../shared");
#endif
  if (fs::exists(folder / relative)) return folder / relative;
  return std::nullopt;
}

}  // namespace hunch
