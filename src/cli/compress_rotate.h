// hunch compress --method rotate, alone or before others.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

// Whether --method begins with rotate.
bool asks_for_rotation(const CompressFlags& flags);
// Rotates, and hands the rotated model to the methods that follow. Returns the exit code; throws Error.
int compress_rotated(const CompressFlags& flags);

}  // namespace hunch::cli
