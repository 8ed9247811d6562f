// Plain reading at the speed of memory: the bound that every decode is held against.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace hunch {

// Reads all of `bytes` once, from eight places at a time with prefetch (one sequence alone draws about
// half of what a core can get from memory), and returns the wrapping sum of its 32-bit words in native
// order. A multiple of 4 bytes.
uint32_t read_stream(std::span<const std::byte> bytes);

namespace ref {
uint32_t read_stream(std::span<const std::byte> bytes);
}  // namespace ref
}  // namespace hunch
