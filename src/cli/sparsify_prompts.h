// `hunch sparsify --prefill`: patterns of prompts, added to a sidecar.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

int sparsify_prompts(const SparsifyFlags& flags);

}  // namespace hunch::cli
