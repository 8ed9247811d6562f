#include "base/stop.h"

#include "base/error.h"

namespace hunch {

void Stop::throw_if_requested() const {
  if (requested()) throw Error(ErrorKind::kInterrupted, "interrupted");
}

}  // namespace hunch
