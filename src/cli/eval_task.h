// hunch eval --task: the answers to a task's questions, of one mode or several.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

// Returns the exit code; throws Error.
int eval_task(const EvalFlags& flags);

}  // namespace hunch::cli
