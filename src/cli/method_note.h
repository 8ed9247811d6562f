// What sparse mode without predictors does with this model, and what its weights do not allow.
#pragma once
#include <string>

#include "engine/generate.h"

namespace hunch::cli {

// One line, or "" where the sidecar has predictors. The engine has a sidecar.
std::string describe_method(const Engine& engine);

}  // namespace hunch::cli
