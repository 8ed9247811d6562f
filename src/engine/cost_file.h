// Row costs as a file, so that every run on a machine chooses alike which rows it reads how.
#pragma once
#include <filesystem>

#include "linear/cost_table.h"

namespace hunch {

// Writes what was measured, as JSON. Throws Error{kIo}.
void write_costs(const CostTable& costs, const std::filesystem::path& path);

// Pins what write_costs() wrote: it is not measured again. Throws Error{kNotFound | kIo} for a file that cannot be
// read, Error{kFormat} naming the entry that is not one.
void pin_costs(CostTable& costs, const std::filesystem::path& path);

}  // namespace hunch
