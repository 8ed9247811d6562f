// Q4_K: sub-blocks of 32 nibbles with a scale and a minimum each, both 6 bits of a super-block scale.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/fit.h"
#include "formats/format.h"
#include "formats/k_scales.h"

namespace hunch::format {

struct Q4_K {
  // Eight sub-blocks of 32: x = d * scale[j] * q - d_min * min[j], q in 0..15. Sub-blocks 2i and 2i + 1
  // are the low and the high nibbles of q[32 i .. 32 i + 31].
  struct Block {
    f16 d, d_min;
    uint8_t scales[12];  // see unpack_scales
    uint8_t q[128];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      uint8_t scale[kNSub], min[kNSub];
      unpack_scales(b.scales, scale, min);
      for (int j = 0; j < kNSub; ++j) {
        const float d = to_f32(b.d) * scale[j], offset = to_f32(b.d_min) * min[j];
        for (int l = 0; l < kSub; ++l) {
          const uint8_t pair = b.q[j / 2 * kSub + l];
          out[i + j * kSub + l] = d * float(j & 1 ? pair >> 4 : pair & 15) - offset;
        }
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      const fit::SubBlocks<kSub, kNSub, 15, 63> best(values + i, importance ? importance + i : nullptr);
      Block b;
      b.d = best.d;
      b.d_min = best.d_min;
      pack_scales(best.scale, best.min, b.scales);
      for (int j = 0; j < kNSub; j += 2)
        for (int l = 0; l < kSub; ++l)
          b.q[j / 2 * kSub + l] = uint8_t(best.codes[j * kSub + l] | best.codes[(j + 1) * kSub + l] << 4);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ4_K,
                                     .name = "q4_k",
                                     .block_elems = 256,
                                     .block_bytes = 144,
                                     .decode = decode,
                                     .encoder = encode,
                                     .has_min = true,
                                     .file_type = 14,
                                     .fallback = DType::kQ5_0};

 private:
  static constexpr int kSub = 32, kNSub = 8;
};
static_assert(sizeof(Q4_K::Block) == Q4_K::kFormat.block_bytes);

}  // namespace hunch::format
