// Q5_K: as Q4_K, with a fifth bit.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/fit.h"
#include "formats/format.h"
#include "formats/k_scales.h"

namespace hunch::format {

struct Q5_K {
  // As the block of Q4_K with a fifth bit: bit j of high[l] belongs to element l of sub-block j.
  struct Block {
    f16 d, d_min;
    uint8_t scales[12];
    uint8_t high[32];
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
          const int q = (j & 1 ? pair >> 4 : pair & 15) | (b.high[l] >> j & 1) << 4;
          out[i + j * kSub + l] = d * float(q) - offset;
        }
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      const fit::SubBlocks<kSub, kNSub, 31, 63> best(values + i, importance ? importance + i : nullptr);
      Block b{};
      b.d = best.d;
      b.d_min = best.d_min;
      pack_scales(best.scale, best.min, b.scales);
      for (int j = 0; j < kNSub; ++j)
        for (int l = 0; l < kSub; ++l) {
          const uint8_t q = best.codes[j * kSub + l];
          b.q[j / 2 * kSub + l] |= uint8_t((q & 15) << (j & 1 ? 4 : 0));
          b.high[l] |= uint8_t(q >> 4 << j);
        }
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ5_K,
                                     .name = "q5_k",
                                     .block_elems = 256,
                                     .block_bytes = 176,
                                     .decode = decode,
                                     .encoder = encode,
                                     .has_min = true,
                                     .file_type = 16,
                                     .fallback = DType::kQ5_1};

 private:
  static constexpr int kSub = 32, kNSub = 8;
};
static_assert(sizeof(Q5_K::Block) == Q5_K::kFormat.block_bytes);

}  // namespace hunch::format
