// Q8_0: blocks of 32 bytes of code with one scale.
#pragma once
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/half.h"
#include "base/round_small.h"
#include "formats/format.h"
#include "formats/scale.h"

namespace hunch::format {

struct Q8_0 {
  // x[i] = d * q[i]
  struct Block {
    f16 d;
    int8_t q[32];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      const float d = to_f32(b.d);
      for (int j = 0; j < 32; ++j) out[i + j] = d * b.q[j];
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* /*importance*/) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      int32_t largest = 0;  // as bits, which have the order of the values
      for (int j = 0; j < 32; ++j)
        largest = std::max(largest, int32_t(std::bit_cast<uint32_t>(values[i + j]) & 0x7fffffffu));
      const float absmax = std::bit_cast<float>(largest);
      Block b;
      b.d = finite_f16(absmax / 127);
      // Rounding against the scale that will be read back, not against the one before its rounding.
      const float inverse = inverse_or_zero(to_f32(b.d));
      for (int j = 0; j < 32; ++j) b.q[j] = int8_t(round_small(std::clamp(values[i + j] * inverse, -127.0f, 127.0f)));
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ8_0,
                                     .name = "q8_0",
                                     .block_elems = 32,
                                     .block_bytes = 34,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 7,
                                     .caches = true};
};
static_assert(sizeof(Q8_0::Block) == Q8_0::kFormat.block_bytes);

}  // namespace hunch::format
