// For tests: the quantised checkpoints that there are.
#pragma once
#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/test_paths.h"

namespace hunch {

inline const std::filesystem::path kQuantisedFixtures =
    std::filesystem::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "quantised";

// The repository's fixtures and, where they are present, the shared goldens.
inline std::vector<std::filesystem::path> quantised_folders() {
  std::vector<std::filesystem::path> out;
  const auto add = [&](const std::filesystem::path& root) {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(root))
      if (entry.is_directory() && entry.path().filename() != "base") found.push_back(entry.path());
    std::ranges::sort(found);
    out.insert(out.end(), found.begin(), found.end());
  };
  add(kQuantisedFixtures);
  if (const auto shared = shared_path("golden/quantised")) add(*shared);
  return out;
}

}  // namespace hunch
