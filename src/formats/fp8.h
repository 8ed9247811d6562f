// FP8: blocks of 64 floats of 8 bits (E4M3) with an f32 scale, which checkpoints have for a matrix, a row or a block.
#pragma once
#include <cmath>
#include <cstring>

#include "formats/e4m3.h"
#include "formats/format.h"

namespace hunch::format {

struct FP8 {
  // x[i] = scale[0] * q[i]; no q is NaN: 0x7f and 0xff
  struct Block {
    float scale[1];
    uint8_t q[64];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 64, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int j = 0; j < 64; ++j) out[i + j] = e4m3_to_f32(b.q[j]) * b.scale[0];
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* /*importance*/) {
    for (size_t i = 0; i < n; i += 64, blocks += sizeof(Block)) {
      const float* x = values + i;
      float absmax = 0;
      for (int j = 0; j < 64; ++j) absmax = std::fmax(absmax, std::fabs(x[j]));
      const bool zero = absmax < 1e-30f;
      Block b;
      b.scale[0] = zero ? 0 : absmax / kE4m3Largest;
      const float inverse = zero ? 0 : kE4m3Largest / absmax;
      for (int j = 0; j < 64; ++j) b.q[j] = f32_to_e4m3(x[j] * inverse);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kFP8,
                                     .name = "fp8",
                                     .block_elems = 64,
                                     .block_bytes = 68,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = uint32_t(DType::kFP8),
                                     .fallback = DType::kQ8_0,
                                     .float_products = true};
};
static_assert(sizeof(FP8::Block) == FP8::kFormat.block_bytes);

}  // namespace hunch::format
