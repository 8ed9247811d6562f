// IQ4_XS: as IQ4_NL, in blocks of 256 with a scale of 6 bits for each 32.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/code_book.h"
#include "formats/fit.h"
#include "formats/format.h"

namespace hunch::format {

struct IQ4_XS {
  using Book = Iq4Values;
  // Eight sub-blocks of 32: x = d * (scale[j] - 32) * value of a nibble of q[16 j .. 16 j + 15], low nibbles first.
  // A scale's low four bits are nibble j of low_scales, its upper two bits 2 j and 2 j + 1 of high_scales.
  struct Block {
    f16 d;
    uint16_t high_scales;
    uint8_t low_scales[4];
    uint8_t q[128];
  };

  static int scale(const Block& b, int j) {
    return ((b.low_scales[j / 2] >> 4 * (j % 2) & 15) | (b.high_scales >> 2 * j & 3) << 4) - 32;
  }

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int j = 0; j < kNSub; ++j) {
        const float d = to_f32(b.d) * float(scale(b, j));
        for (int l = 0; l < 16; ++l) {
          const uint8_t pair = b.q[16 * j + l];
          out[i + 32 * j + l] = d * float(Book::kValues[pair & 15]);
          out[i + 32 * j + l + 16] = d * float(Book::kValues[pair >> 4]);
        }
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      const fit::SignedSubBlocks<32, kNSub, 32, fit::FromBook<Book>> best(values + i,
                                                                          importance ? importance + i : nullptr);
      Block b{};
      b.d = best.d;
      for (int j = 0; j < kNSub; ++j) {
        const int s = best.scale[j] + 32;
        b.low_scales[j / 2] |= uint8_t((s & 15) << 4 * (j % 2));
        b.high_scales = uint16_t(b.high_scales | s >> 4 << 2 * j);
        for (int l = 0; l < 16; ++l)
          b.q[16 * j + l] = uint8_t(best.codes[32 * j + l] | best.codes[32 * j + l + 16] << 4);
      }
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kIQ4_XS,
                                     .name = "iq4_xs",
                                     .block_elems = 256,
                                     .block_bytes = 136,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 30,
                                     .fallback = DType::kIQ4_NL};

 private:
  static constexpr int kNSub = 8;
};
static_assert(sizeof(IQ4_XS::Block) == IQ4_XS::kFormat.block_bytes);

}  // namespace hunch::format
