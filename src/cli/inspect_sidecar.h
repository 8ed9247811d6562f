// What `hunch sparsify` learned, layer by layer.
#pragma once
#include "cli/flags.h"
#include "io/model_file.h"

namespace hunch::cli {

bool is_sidecar(const ModelFile& file);

// Prints it, as text or JSON. Throws as parse_sidecar.
void inspect_sidecar(const InspectFlags& flags, ModelFile file);

}  // namespace hunch::cli
