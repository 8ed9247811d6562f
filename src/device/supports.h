// Which models a device computes: those whose layers are made of what StepProgram records.
#pragma once
#include <string>

#include "model/model.h"

namespace hunch {

// Why not the layers of this one from `first_layer` on, in a few words that name the first thing in the way; empty: it
// does.
std::string unsupported_by_devices(const Model& model, size_t first_layer);

}  // namespace hunch
