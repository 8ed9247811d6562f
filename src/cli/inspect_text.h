// The part of `hunch inspect` that runs a text through the model.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "cli/flags.h"

namespace hunch::cli {

// Traces flags.text, writes flags.html and flags.svg where they are asked for, prints a table of the layers (nothing
// with --json) and returns all numbers.
nlohmann::ordered_json inspect_text(const InspectFlags& flags);

}  // namespace hunch::cli
