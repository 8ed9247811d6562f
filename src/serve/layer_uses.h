// hunch's own field of a stream's choices, "hunch": what tokens used of the model, where "trace" asked for it.
#pragma once
#include <span>

#include "model/run_trace.h"
#include "serve/json.h"

namespace hunch::serve {

// {"neurons": [...], "heads": [...], "experts": [...], "keys": [...]}: one whole number per layer, thousandths of what
// the layer has; null where it has none. What no layer has is left out. A share that is not 0 is 1 or more.
Json layer_uses(std::span<const LayerUse> layers);

}  // namespace hunch::serve
