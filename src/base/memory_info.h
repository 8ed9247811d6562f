// How much memory this process may still use.
#pragma once
#include <cstdint>

namespace hunch {

// Bytes that can be touched before the machine swaps or the process's cgroup kills it: the smaller of
// the system's MemAvailable and what its memory cgroups (v1 or v2) leave. Page cache counts as
// available. UINT64_MAX where the system does not say.
uint64_t available_memory_bytes();

}  // namespace hunch
