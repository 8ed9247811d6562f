#include "jinja/runtime.h"

#include <fmt/format.h>

namespace hunch::jinja {

void Runtime::spend_on(const Value& value) {
  constexpr size_t kBytesPerStep = 64;
  switch (value.kind) {
    case Kind::kString: spend(1 + value.string->size() / kBytesPerStep); break;
    case Kind::kList:
    case Kind::kTuple: spend(1 + value.list->items.size()); break;
    case Kind::kDict: spend(1 + value.dict->size()); break;
    default: spend(1);
  }
}

void Runtime::refuse() const {
  throw Fault(
      fmt::format("the template did not finish within {} steps; it is probably in a runaway loop", limits_.max_steps));
}

}  // namespace hunch::jinja
