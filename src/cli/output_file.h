// Output never destroys input: what a verb asks before it begins to work.
#pragma once
#include <string>

namespace hunch::cli {

// Throws Error{kUsage}: no path, a folder, the model itself (whatever `force` says), or a file that is there already
// without `force`. `option` names it in messages, e.g. "-o".
void check_output(const std::string& path, const std::string& model, bool force, const char* option);

}  // namespace hunch::cli
