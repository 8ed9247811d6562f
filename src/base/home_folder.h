// Where hunch keeps what it fetched and measured.
#pragma once
#include <filesystem>

namespace hunch {

// $HUNCH_HOME, or ~/.cache/hunch. Throws Error{kUsage} when neither HUNCH_HOME nor HOME is set.
std::filesystem::path hunch_home();

}  // namespace hunch
