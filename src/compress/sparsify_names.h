// The choices of SparsifyOptions by name, as the command line and programs say them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "compress/sparsify.h"

namespace hunch {

// What SparsifyOptions::predictor may be.
const std::vector<std::string>& predictor_names();

// Throw Error{kUsage} naming what was expected and what was found.
HeadMode head_mode_from(std::string_view name);    // auto, off, write, lazy
Look look_ahead_from(std::string_view name);       // none, attention
Look head_look_ahead_from(std::string_view name);  // none, previous

}  // namespace hunch
