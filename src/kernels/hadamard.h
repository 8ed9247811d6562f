// Rows multiplied by a Hadamard matrix (Sylvester's), scaled so that it is orthonormal. It is symmetric: the same again
// undoes it.
#pragma once
#include <cstddef>
#include <span>

namespace hunch {

// The largest power of two that divides n: rows of n values are rotated in pieces of so many.
constexpr size_t hadamard_block(size_t n) { return n & (~n + 1); }

// row[i] = sum_j H[i][j] row[j] / sqrt(block) within each `block` values, in n log2(block) additions. `block` is a
// power of two that divides the row's length.
void hadamard(std::span<float> row, size_t block);

namespace ref {  // by the definition: H[i][j] = (-1)^(number of bits that i and j share)
void hadamard(std::span<float> row, size_t block);
}  // namespace ref
}  // namespace hunch
