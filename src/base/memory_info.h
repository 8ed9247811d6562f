// How much memory this process may still use.
#pragma once
#include <cstdint>
#include <string_view>

namespace hunch {

// Bytes that can be touched before the machine swaps, the process's cgroup kills it or its own limit (ulimit -v)
// stops it: the smallest of the system's MemAvailable, what its memory cgroups (v1 or v2) leave, and what is left of
// RLIMIT_AS. Page cache counts as available. UINT64_MAX where the system does not say.
uint64_t available_memory_bytes();

// Throws Error{kMemory} when `n_bytes` more than are available are needed: "not enough memory: WHAT takes N, M are
// available", with `advice` after it.
void require_memory(uint64_t n_bytes, std::string_view what, std::string_view advice = "");

}  // namespace hunch
