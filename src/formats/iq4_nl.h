// IQ4_NL: blocks of 32 nibbles, each one of sixteen values that lie closer around zero, with one scale.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/code_book.h"
#include "formats/fit.h"
#include "formats/format.h"
#include "formats/scale.h"

namespace hunch::format {

struct IQ4_NL {
  using Book = Iq4Values;
  // x[i] = d * value of the low nibble of q[i], x[i + 16] = d * value of the high nibble
  struct Block {
    f16 d;
    uint8_t q[16];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int j = 0; j < 16; ++j) {
        out[i + j] = to_f32(b.d) * float(Book::kValues[b.q[j] & 15]);
        out[i + j + 16] = to_f32(b.d) * float(Book::kValues[b.q[j] >> 4]);
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    float scales[4];
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      if (i % 128 == 0) fit::book_scales<Book>(values + i, importance ? importance + i : nullptr, (n - i) / 32, scales);
      Block b;
      b.d = finite_f16(scales[i / 32 % 4]);
      uint8_t code[32];
      fit::book_codes<Book>(values + i, to_f32(b.d), code);
      for (int j = 0; j < 16; ++j) b.q[j] = uint8_t(code[j] | code[j + 16] << 4);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kIQ4_NL,
                                     .name = "iq4_nl",
                                     .block_elems = 32,
                                     .block_bytes = 18,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 25};
};
static_assert(sizeof(IQ4_NL::Block) == IQ4_NL::kFormat.block_bytes);

}  // namespace hunch::format
