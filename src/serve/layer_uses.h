// hunch's own field of a stream's choices, "hunch": what tokens used of the model, where "trace" asked for it.
#pragma once
#include <span>
#include <vector>

#include "model/run_trace.h"
#include "serve/json.h"

namespace hunch::serve {

// {"neurons": [...], "heads": [...], "experts": [...], "keys": [...]}: one whole number per layer, thousandths of what
// the layer has; null where it has none. What no layer has is left out. A share that is not 0 is 1 or more.
Json layer_uses(std::span<const LayerUse> layers);

// What an answer's tokens used, until an event tells it.
class TokenUses {
 public:
  explicit TokenUses(size_t n_choices) : waiting_(n_choices) {}
  // Of a token: [n_layer], or empty where nobody asked.
  void add(size_t choice, std::span<const LayerUse> layers) {
    if (!layers.empty()) waiting_[choice].push_back(layer_uses(layers));
  }
  // "hunch" of an event with this choice, where there is something to tell.
  void tell(size_t choice, Json& event);

 private:
  std::vector<Json> waiting_;  // [n_choices] lists, or null
};

}  // namespace hunch::serve
