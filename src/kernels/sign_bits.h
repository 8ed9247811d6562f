// Vectors as their signs, one bit each, and how often two of them differ.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace hunch {

// Words that the signs of n values take: whole 64-byte lines.
constexpr size_t sign_words(size_t n) { return (n + 511) / 512 * 8; }

// Bit i % 64 of word i / 64 is set where x[i] < 0; the words beyond x are zero.
//
//   bits  [sign_words(x.size())]
void pack_signs(std::span<const float> x, std::span<uint64_t> bits);

// counts[r] = number of bits in which planes[r, :] and x differ: XOR and popcount. Packed vectors of equal
// length agree in their padding.
//
//   planes  [counts.size(), x.size()]
//   x       [a multiple of 8]
void count_sign_differences(const uint64_t* planes, std::span<const uint64_t> x, std::span<float> counts);

namespace ref {
void pack_signs(std::span<const float> x, std::span<uint64_t> bits);
void count_sign_differences(const uint64_t* planes, std::span<const uint64_t> x, std::span<float> counts);
}  // namespace ref
}  // namespace hunch
