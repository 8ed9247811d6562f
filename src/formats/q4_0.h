// Q4_0: blocks of 32 nibbles with one scale.
#pragma once
#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "base/round_small.h"
#include "formats/fit.h"
#include "formats/format.h"
#include "formats/scale.h"

namespace hunch::format {

struct Q4_0 {
  // x[i] = d * (low nibble of q[i] - 8), x[i + 16] = d * (high nibble of q[i] - 8)
  struct Block {
    f16 d;
    uint8_t q[16];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      const float d = to_f32(b.d);
      for (int j = 0; j < 16; ++j) {
        out[i + j] = d * float((b.q[j] & 15) - 8);
        out[i + j + 16] = d * float((b.q[j] >> 4) - 8);
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    float scales[4];
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      // The value of largest magnitude maps to -8, the one code without a counterpart of other sign.
      const float extreme = fit::extreme<32>(values + i);
      Block b;
      b.d = finite_f16(extreme / -8);
      if (importance) {
        if (i % 128 == 0) fit::whole_scales<-8, 7>(values + i, importance + i, (n - i) / 32, scales);
        b.d = finite_f16(scales[i / 32 % 4]);
      }
      const float inverse = inverse_or_zero(to_f32(b.d));
      uint8_t code[32];
      for (int j = 0; j < 32; ++j) code[j] = uint8_t(round_small(std::clamp(values[i + j] * inverse, -8.0f, 7.0f)) + 8);
      for (int j = 0; j < 16; ++j) b.q[j] = uint8_t(code[j] | code[j + 16] << 4);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ4_0,
                                     .name = "q4_0",
                                     .block_elems = 32,
                                     .block_bytes = 18,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 2,
                                     .caches = true};
};
static_assert(sizeof(Q4_0::Block) == Q4_0::kFormat.block_bytes);

}  // namespace hunch::format
