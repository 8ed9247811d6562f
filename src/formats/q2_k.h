// Q2_K: sub-blocks of 16 codes of 2 bits with a scale and a minimum of 4 bits each.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/fit.h"
#include "formats/format.h"

namespace hunch::format {

struct Q2_K {
  // Sixteen sub-blocks of 16: x = d * (low nibble of scales[j]) * q - d_min * (high nibble), q in 0..3. Within each
  // half of 128 elements, quarter k (32 elements) is bits 2k, 2k + 1 of q[half * 32 + l].
  struct Block {
    uint8_t scales[16];
    uint8_t q[64];
    f16 d, d_min;
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int at = 0; at < 256; ++at) {
        const int half = at / 128, quarter = at / 32 % 4, l = at % 32;
        const uint8_t scale = b.scales[at / kSub];
        const float d = to_f32(b.d) * float(scale & 15), min = to_f32(b.d_min) * float(scale >> 4);
        out[i + at] = d * float(b.q[half * 32 + l] >> 2 * quarter & 3) - min;
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      const fit::SubBlocks<kSub, kNSub, 3, 15> best(values + i, importance ? importance + i : nullptr);
      Block b{};
      b.d = best.d;
      b.d_min = best.d_min;
      for (int j = 0; j < kNSub; ++j) b.scales[j] = uint8_t(best.scale[j] | best.min[j] << 4);
      for (int k = 0; k < 8; ++k)  // quarters of both halves
        for (int l = 0; l < 32; ++l) b.q[k / 4 * 32 + l] |= uint8_t(best.codes[32 * k + l] << 2 * (k % 4));
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ2_K,
                                     .name = "q2_k",
                                     .block_elems = 256,
                                     .block_bytes = 84,
                                     .decode = decode,
                                     .encoder = encode,
                                     .has_min = true,
                                     .file_type = 10,
                                     .fallback = DType::kQ4_0};

 private:
  static constexpr int kSub = 16, kNSub = 16;
};
static_assert(sizeof(Q2_K::Block) == Q2_K::kFormat.block_bytes);

}  // namespace hunch::format
