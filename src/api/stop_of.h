// Whom a call asks whether to end early.
#pragma once
#include "api/inside.h"
#include "base/compute.h"

namespace hunch {

// For a StopScope: none leaves the engine's own.
inline const Stop* stop_of(const Cancel* cancel) { return cancel ? &Inside::of(*cancel) : nullptr; }

}  // namespace hunch
