// The part of `hunch inspect` that counts what a model computes and reads.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

// Prints tables or, with --json, all numbers; writes flags.html and flags.svg where they are asked for.
void inspect_workload(const InspectFlags& flags);

}  // namespace hunch::cli
