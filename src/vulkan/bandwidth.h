// How fast a device reads its memory.
#pragma once
#include <memory>

#include "vulkan/gpu.h"

namespace hunch::vulkan {

// The best of several readings in order of 1 GB, or less where memory is short, in 10^9 bytes per second, with what
// starting them takes. Throws Error{kMemory | kIo}.
double measure_read_gb_per_s(const std::shared_ptr<Gpu>& gpu);

}  // namespace hunch::vulkan
