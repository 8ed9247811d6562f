// Plain reading at the speed of memory: the bound that every decode is held against.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace hunch {

// Ways to walk through memory, none of which is the fastest everywhere: a Sapphire Rapids core draws twice as much from
// eight places with prefetch as from one, a Zen 5 core most from one or four without.
enum class ReadWay : uint8_t { kOne, kFour, kEightAhead };
constexpr ReadWay kReadWays[] = {ReadWay::kOne, ReadWay::kFour, ReadWay::kEightAhead};

// Reads all of `bytes` once, from so many places at a time, and returns the wrapping sum of its 32-bit words in native
// order. A multiple of 4 bytes.
uint32_t read_stream(std::span<const std::byte> bytes, ReadWay way = ReadWay::kEightAhead);

namespace ref {
uint32_t read_stream(std::span<const std::byte> bytes);
}  // namespace ref
}  // namespace hunch
