// Q5_1: blocks of 32 codes of 5 bits with a scale and a minimum.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/fifth_bits.h"
#include "formats/fit.h"
#include "formats/format.h"
#include "formats/scale.h"

namespace hunch::format {

struct Q5_1 {
  // x[i] = d * code i + min; codes as in fifth_bits.h
  struct Block {
    f16 d, min;
    uint8_t high[4];
    uint8_t q[16];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      uint8_t code[32];
      unpack_fifth(b.high, b.q, code);
      for (int j = 0; j < 32; ++j) out[i + j] = to_f32(b.d) * float(code[j]) + to_f32(b.min);
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    float scales[4], mins[4];
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      const float* x = values + i;
      const fit::Range range = fit::range_of<32>(x);
      Block b;
      b.d = finite_f16((range.high - range.low) / 31);
      b.min = finite_f16(range.low);
      if (importance) {
        if (i % 128 == 0) fit::ranges<31>(x, importance + i, (n - i) / 32, scales, mins);
        b.d = finite_f16(scales[i / 32 % 4]);
        b.min = finite_f16(-mins[i / 32 % 4]);
      }
      // Rounding against the numbers that will be read back, not against those before their rounding.
      const float inverse = inverse_or_zero(to_f32(b.d)), min = to_f32(b.min);
      uint8_t code[32];
      fit::range_codes<31>(x, min, inverse, code);
      pack_fifth(code, b.high, b.q);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ5_1,
                                     .name = "q5_1",
                                     .block_elems = 32,
                                     .block_bytes = 24,
                                     .decode = decode,
                                     .encoder = encode,
                                     .has_min = true,
                                     .file_type = 9,
                                     .caches = true};
};
static_assert(sizeof(Q5_1::Block) == Q5_1::kFormat.block_bytes);

}  // namespace hunch::format
