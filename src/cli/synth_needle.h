// hunch synth --needle: a model that finds what followed the last token earlier in the text.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

// Returns the exit code; throws Error.
int synth_needle(const SynthFlags& flags);

}  // namespace hunch::cli
