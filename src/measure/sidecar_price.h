// What a sidecar costs in quality on a model of another type than it was made for.
#pragma once
#include <optional>

#include "engine/engine.h"

namespace hunch {

struct SidecarPrice {
  double perplexity_dense = 0, perplexity_sparse = 0;
  size_t n_tokens = 0;
};

// Of the engine's sidecar, on the text that it carries (Sidecar::quality.ids): measured now, some
// seconds, or as it was measured once on this machine (HUNCH_HOME/prices.json). None where it carries no text.
std::optional<SidecarPrice> sidecar_price(const Engine& engine);

}  // namespace hunch
