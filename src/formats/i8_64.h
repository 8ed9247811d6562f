// I8_64: blocks of 64 integers of 8 bits in 127ths of an f32 maximum, which checkpoints of bitsandbytes have for a row.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/round_small.h"
#include "formats/format.h"

namespace hunch::format {

struct I8_64 {
  // x[i] = (scale[0] * q[i]) * kBy127, rounded after either product, as the tool does it
  struct Block {
    float scale[1];
    int8_t q[64];
  };
  static constexpr float kBy127 = 0.007874015718698502f;

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 64, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int j = 0; j < 64; ++j) {
        const float product = float(b.q[j]) * b.scale[0];
        out[i + j] = product * kBy127;
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* /*importance*/) {
    for (size_t i = 0; i < n; i += 64, blocks += sizeof(Block)) {
      const float* x = values + i;
      Block b{};
      for (int j = 0; j < 64; ++j) b.scale[0] = std::fmax(b.scale[0], std::fabs(x[j]));
      b.scale[0] = std::fmin(b.scale[0], 2e36f);  // times 127 is a number still
      const float inverse = b.scale[0] < 1e-30f ? 0 : 127 / b.scale[0];
      for (int j = 0; j < 64; ++j)
        b.q[j] = int8_t(std::clamp(round_small(std::clamp(x[j] * inverse, -128.0f, 128.0f)), -127, 127));
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kI8_64,
                                     .name = "i8_64",
                                     .block_elems = 64,
                                     .block_bytes = 68,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = uint32_t(DType::kI8_64),
                                     .fallback = DType::kQ8_0,
                                     .float_products = true};
};
static_assert(sizeof(I8_64::Block) == I8_64::kFormat.block_bytes);

}  // namespace hunch::format
