// Whom a call asks whether to end early.
#pragma once
#include "base/compute.h"
#include "hunch/cancel.h"

namespace hunch {

// For a StopScope: none leaves the engine's own.
inline const Stop* stop_of(const Cancel* cancel) { return cancel ? &cancel->stop() : nullptr; }

}  // namespace hunch
