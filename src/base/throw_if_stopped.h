// The question of long work that may have no stop.
#pragma once
#include "base/stop.h"

namespace hunch {

// Throws Error{kInterrupted} when there is a stop and it is requested. Long loops ask about every 0.1 s, on any thread;
// it costs a load.
inline void throw_if_stopped(const Stop* stop) {
  if (stop) stop->throw_if_requested();
}

}  // namespace hunch
