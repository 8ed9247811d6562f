// hunch eval --by-position: perplexity by how far into its text a token stands.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

// Returns the exit code; throws Error.
int eval_by_position(const EvalFlags& flags);

}  // namespace hunch::cli
