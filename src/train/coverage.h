// Which models can be trained.
#pragma once
#include "model/model.h"

namespace hunch {

// Dense blocks as Llama and OPT have them: attention over keys of their own (grouped or not, with a window or none),
// norms before the branches, RoPE or a table of positions, an MLP with a gate or without. Throws Error{kUnsupported}
// naming the first thing that a model has beyond that.
void require_trainable(const Model& model);

}  // namespace hunch
