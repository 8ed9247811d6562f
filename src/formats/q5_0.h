// Q5_0: blocks of 32 codes of 5 bits with one scale.
#pragma once
#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "base/round_small.h"
#include "formats/fifth_bits.h"
#include "formats/fit.h"
#include "formats/format.h"
#include "formats/scale.h"

namespace hunch::format {

struct Q5_0 {
  // x[i] = d * (code i - 16); codes as in fifth_bits.h
  struct Block {
    f16 d;
    uint8_t high[4];
    uint8_t q[16];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      uint8_t code[32];
      unpack_fifth(b.high, b.q, code);
      for (int j = 0; j < 32; ++j) out[i + j] = to_f32(b.d) * float(code[j] - 16);
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    float scales[4];
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      // The value of largest magnitude maps to -16, the one code without a counterpart of other sign.
      b.d = finite_f16(fit::extreme<32>(values + i) / -16);
      if (importance) {
        if (i % 128 == 0) fit::whole_scales<-16, 15>(values + i, importance + i, (n - i) / 32, scales);
        b.d = finite_f16(scales[i / 32 % 4]);
      }
      const float inverse = inverse_or_zero(to_f32(b.d));
      uint8_t code[32];
      for (int j = 0; j < 32; ++j)
        code[j] = uint8_t(round_small(std::clamp(values[i + j] * inverse, -16.0f, 15.0f)) + 16);
      pack_fifth(code, b.high, b.q);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ5_0,
                                     .name = "q5_0",
                                     .block_elems = 32,
                                     .block_bytes = 22,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 8,
                                     .caches = true};
};
static_assert(sizeof(Q5_0::Block) == Q5_0::kFormat.block_bytes);

}  // namespace hunch::format
