// I8_16: hunch's own, in memory only: what formats become that are read and not computed with. Integers of 8 bits with
// an f32 scale for each sixteen hold their values exactly: look-ups of small integers, times a scale.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/round_small.h"
#include "formats/format.h"

namespace hunch::format {

struct I8_16 {
  // x[i] = scale[i / 16] * q[i]
  struct Block {
    float scale[2];
    int8_t q[32];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int j = 0; j < 32; ++j) out[i + j] = b.scale[j / 16] * float(b.q[j]);
    }
  }

  // For values that come of nothing exact: tests, and matrices that are stored transposed.
  static void encode(const float* values, std::byte* blocks, size_t n, const float* /*importance*/) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      for (int half = 0; half < 2; ++half) {
        const float* x = values + i + 16 * half;
        float absmax = 0;
        for (int j = 0; j < 16; ++j) absmax = std::max(absmax, std::fabs(x[j]));
        const bool zero = absmax < 1e-30f;
        b.scale[half] = zero ? 0 : absmax / 127;
        const float inverse = zero ? 0 : 127 / absmax;
        for (int j = 0; j < 16; ++j) b.q[16 * half + j] = int8_t(round_small(x[j] * inverse));
      }
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kI8_16,
                                     .name = "i8_16",
                                     .block_elems = 32,
                                     .block_bytes = 40,
                                     .decode = decode,
                                     .encoder = encode,
                                     .fallback = DType::kF32,
                                     .in_memory_only = true};
};
static_assert(sizeof(I8_16::Block) == I8_16::kFormat.block_bytes);

}  // namespace hunch::format
