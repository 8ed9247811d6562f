// The part of `hunch inspect` that looks at distributions of weights and activations.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

// Runs flags.text, prints tables or, with --json, all numbers; writes flags.html and flags.svg where they are asked
// for.
void inspect_weights(const InspectFlags& flags);

}  // namespace hunch::cli
