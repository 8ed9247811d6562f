// What NF4 and FP4 are: blocks of 64 codes of four bits into a table of floats, with an f32 scale. Their numbers are no
// small integers, so that products take them as floats (Format::float_products).
#pragma once
#include <array>
#include <cmath>
#include <cstring>

#include "formats/format.h"

namespace hunch::format {

// Of a struct F with kValues, the table: |value| <= 1, and 1 is among them.
template <class F>
struct FourBitFloats {
  // x[i] = scale[0] * value of the low nibble of q[i], x[i + 32] = ... of the high nibble
  struct Block {
    float scale[1];
    uint8_t q[32];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 64, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int j = 0; j < 32; ++j) {
        out[i + j] = F::kValues[b.q[j] & 15] * b.scale[0];
        out[i + j + 32] = F::kValues[b.q[j] >> 4] * b.scale[0];
      }
    }
  }

  // The codes nearest x / max |x|, the first of two that are equally near, as bitsandbytes chooses them.
  static void encode(const float* values, std::byte* blocks, size_t n, const float* /*importance*/) {
    for (size_t i = 0; i < n; i += 64, blocks += sizeof(Block)) {
      const float* x = values + i;
      Block b{};
      for (int j = 0; j < 64; ++j) b.scale[0] = std::fmax(b.scale[0], std::fabs(x[j]));
      if (b.scale[0] < 1e-30f) b.scale[0] = 0;  // whose inverse would leave the range of f32
      const float factor = b.scale[0] > 0 ? 1 / b.scale[0] : 0;
      for (int j = 0; j < 32; ++j) b.q[j] = uint8_t(nearest(x[j] * factor) | nearest(x[j + 32] * factor) << 4);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

 private:
  static int nearest(float x) {
    int code = 0;
    float least = std::fabs(x - F::kValues[0]);
    for (int k = 1; k < 16; ++k)
      if (const float distance = std::fabs(x - F::kValues[size_t(k)]); distance < least) least = distance, code = k;
    return code;
  }
};

}  // namespace hunch::format
