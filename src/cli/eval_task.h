// hunch eval --task: the answers to a task's questions, of one mode or several.
#pragma once
#include <vector>

#include "cli/flags.h"
#include "measure/compare.h"

namespace hunch::cli {

// What --compare names, or the one mode that the flags say; of answers, to which lossless adds nothing: Error{kUsage}.
std::vector<CompareMode> task_modes(const EvalFlags& flags);

// Returns the exit code; throws Error.
int eval_task(const EvalFlags& flags);

}  // namespace hunch::cli
