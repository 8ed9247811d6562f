// Q4_1: blocks of 32 nibbles with a scale and a minimum.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/fit.h"
#include "formats/format.h"
#include "formats/scale.h"

namespace hunch::format {

struct Q4_1 {
  // x[i] = d * low nibble of q[i] + min, x[i + 16] = d * high nibble of q[i] + min
  struct Block {
    f16 d, min;
    uint8_t q[16];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      const float d = to_f32(b.d), min = to_f32(b.min);
      for (int j = 0; j < 16; ++j) {
        out[i + j] = d * float(b.q[j] & 15) + min;
        out[i + j + 16] = d * float(b.q[j] >> 4) + min;
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    float scales[4], mins[4];
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      const float* x = values + i;
      const fit::Range range = fit::range_of<32>(x);
      Block b;
      b.d = finite_f16((range.high - range.low) / 15);
      b.min = finite_f16(range.low);
      if (importance) {
        if (i % 128 == 0) fit::ranges<15>(x, importance + i, (n - i) / 32, scales, mins);
        b.d = finite_f16(scales[i / 32 % 4]);
        b.min = finite_f16(-mins[i / 32 % 4]);
      }
      // Rounding against the numbers that will be read back, not against those before their rounding.
      const float inverse = inverse_or_zero(to_f32(b.d)), min = to_f32(b.min);
      uint8_t code[32];
      fit::range_codes<15>(x, min, inverse, code);
      for (int j = 0; j < 16; ++j) b.q[j] = uint8_t(code[j] | code[j + 16] << 4);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ4_1,
                                     .name = "q4_1",
                                     .block_elems = 32,
                                     .block_bytes = 20,
                                     .decode = decode,
                                     .encoder = encode,
                                     .has_min = true,
                                     .file_type = 3,
                                     .caches = true};
};
static_assert(sizeof(Q4_1::Block) == Q4_1::kFormat.block_bytes);

}  // namespace hunch::format
