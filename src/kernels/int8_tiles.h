// Products of strips of int8 with many tokens in AMX tiles: 1,024 multiply-adds a cycle, twice as many as of bf16.
#pragma once
#include <cstddef>

#include "kernels/int8_strips.h"

namespace hunch {

// Whether this machine has AMX tiles of int8 and the SIMD target in use takes them.
bool multiplies_int8_tiles();

// Strips that share a piece of the tokens, and scratch that a thread needs, 64-byte aligned.
constexpr size_t kInt8TileStrips = 8;
size_t int8_tile_scratch_bytes(size_t n_tokens);
// Strips [begin, end) of a task, at most kInt8TileStrips, with all tokens. May be called by several threads.
void multiply_int8_tiles(const Int8Tokens& x, const Int8Task& task, size_t begin, size_t end, std::byte* scratch);

}  // namespace hunch
