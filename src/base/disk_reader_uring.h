// Reads by io_uring. Internal to base/disk_reader.h.
#pragma once
#include <memory>
#include <string>

#include "base/disk_reader.h"

namespace hunch {

// nullptr, and why, where the build or the system has none: containers often forbid it.
std::unique_ptr<DiskReader> make_uring_reader(std::string& problem);

}  // namespace hunch
