// Q3_K: sub-blocks of 16 codes of 3 bits with a scale of 6 bits each.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/fit.h"
#include "formats/format.h"

namespace hunch::format {

struct Q3_K {
  // Sixteen sub-blocks of 16: x = d * (scale[j] - 32) * (q - 4), q in 0..7. Within each half of 128 elements, quarter k
  // (32 elements) has its low two bits in bits 2k, 2k + 1 of low[half * 32 + l]; the upper bit of element l of
  // quarter k of half h is bit 4 h + k of high[l].
  struct Block {
    uint8_t high[32];
    uint8_t low[64];
    uint8_t scales[12];  // see unpack_scales
    f16 d;
  };

  // Sixteen 6-bit scales: entry j has its low four bits in nibble j / 8 of byte j % 8, its upper two in bits 2 (j / 4)
  // of byte 8 + j % 4.
  static void unpack_scales(const uint8_t packed[12], int8_t scale[16]) {
    for (int j = 0; j < 16; ++j)
      scale[j] = int8_t(((packed[j % 8] >> 4 * (j / 8) & 15) | (packed[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32);
  }
  static void pack_scales(const int8_t scale[16], uint8_t packed[12]) {
    std::memset(packed, 0, 12);
    for (int j = 0; j < 16; ++j) {
      const int s = scale[j] + 32;
      packed[j % 8] |= uint8_t((s & 15) << 4 * (j / 8));
      packed[8 + j % 4] |= uint8_t(s >> 4 << 2 * (j / 4));
    }
  }

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      int8_t scale[kNSub];
      unpack_scales(b.scales, scale);
      for (int at = 0; at < 256; ++at) {
        const int half = at / 128, quarter = at / 32 % 4, l = at % 32;
        const int q = (b.low[half * 32 + l] >> 2 * quarter & 3) | (b.high[l] >> (4 * half + quarter) & 1) << 2;
        out[i + at] = to_f32(b.d) * float(scale[at / kSub]) * float(q - 4);
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      const fit::SignedSubBlocks<kSub, kNSub, 32, fit::Whole<-4, 3>> best(values + i,
                                                                          importance ? importance + i : nullptr);
      Block b{};
      b.d = best.d;
      pack_scales(best.scale, b.scales);
      for (int k = 0; k < 8; ++k)  // quarters of both halves
        for (int l = 0; l < 32; ++l) {
          const uint8_t q = uint8_t(best.codes[32 * k + l] + 4);
          b.low[k / 4 * 32 + l] |= uint8_t((q & 3) << 2 * (k % 4));
          b.high[l] |= uint8_t(q >> 2 << k);
        }
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ3_K,
                                     .name = "q3_k",
                                     .block_elems = 256,
                                     .block_bytes = 110,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 11,
                                     .fallback = DType::kQ4_0};

 private:
  static constexpr int kSub = 16, kNSub = 16;
};
static_assert(sizeof(Q3_K::Block) == Q3_K::kFormat.block_bytes);

}  // namespace hunch::format
