// Q6_K: sub-blocks of 16 codes of 6 bits with a scale of 8 bits each.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/fit.h"
#include "formats/format.h"

namespace hunch::format {

struct Q6_K {
  // Sixteen sub-blocks of 16: x = d * scale[j] * (q - 32), q in 0..63. Within each half of 128 elements,
  // quarter k (32 elements) has its low four bits in low[(k & 1) * 32 + l] (low nibble for k < 2, else
  // high nibble) and its upper two in bits 2k, 2k + 1 of high[l].
  struct Block {
    uint8_t low[128];
    uint8_t high[64];
    int8_t scales[16];
    f16 d;
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      const float d = to_f32(b.d);
      for (int at = 0; at < 256; ++at) {
        const int half = at / 128, quarter = at / 32 % 4, l = at % 32;
        const uint8_t pair = b.low[half * 64 + (quarter & 1) * 32 + l];
        const int low = quarter < 2 ? pair & 15 : pair >> 4;
        const int q = low | (b.high[half * 32 + l] >> 2 * quarter & 3) << 4;
        const int sub_block = at / kSub;
        out[i + at] = d * float(b.scales[sub_block]) * float(q - 32);
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      const fit::SignedSubBlocks<kSub, kNSub, 128, fit::Whole<-32, 31>> best(values + i,
                                                                             importance ? importance + i : nullptr);
      Block b{};
      b.d = best.d;
      std::memcpy(b.scales, best.scale, sizeof b.scales);
      for (int k = 0; k < 8; ++k) {  // quarters of both halves
        const int half = k / 4, quarter = k % 4;
        for (int l = 0; l < 32; ++l) {
          const uint8_t q = uint8_t(best.codes[32 * k + l] + 32);
          b.low[half * 64 + (quarter & 1) * 32 + l] |= uint8_t((q & 15) << (quarter < 2 ? 0 : 4));
          b.high[half * 32 + l] |= uint8_t(q >> 4 << 2 * quarter);
        }
      }
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ6_K,
                                     .name = "q6_k",
                                     .block_elems = 256,
                                     .block_bytes = 210,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 18,
                                     .fallback = DType::kQ8_0};

 private:
  static constexpr int kSub = 16, kNSub = 16;
};
static_assert(sizeof(Q6_K::Block) == Q6_K::kFormat.block_bytes);

}  // namespace hunch::format
