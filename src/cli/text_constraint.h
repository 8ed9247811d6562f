// What the text of `hunch run` must be: --json-schema, --grammar-file, --regex.
#pragma once
#include <functional>
#include <memory>

#include "cli/flags.h"
#include "engine/constraint.h"
#include "engine/engine.h"

namespace hunch::cli {

// GenerateOptions::constraint; none where the flags say nothing. The engine outlives what it makes. Throws Error{kUsage
// | kUnsupported} for what is no grammar, and for more than one of them.
std::function<std::unique_ptr<Constraint>()> text_constraint(const RunFlags& flags, const Engine& engine);

}  // namespace hunch::cli
