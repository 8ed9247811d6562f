// hunch eval --task passkey and its kin: what was said earlier in a long text, asked for at its end.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

bool is_recall_task(const std::string& name);
// Returns the exit code; throws Error.
int eval_recall(const EvalFlags& flags);

}  // namespace hunch::cli
