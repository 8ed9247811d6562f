// MXFP4 (OCP Microscaling): blocks of 32 floats of four bits with a power of two.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "formats/code_book.h"
#include "formats/fit.h"
#include "formats/format.h"

namespace hunch::format {

struct MXFP4 {
  using Book = E2m1Values;
  // x[i] = 2^(e - 128) * value of the low nibble of q[i], x[i + 16] = ... of the high nibble
  struct Block {
    uint8_t e;
    uint8_t q[16];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int j = 0; j < 16; ++j) {
        out[i + j] = half_power(b.e) * float(Book::kValues[b.q[j] & 15]);
        out[i + j + 16] = half_power(b.e) * float(Book::kValues[b.q[j] >> 4]);
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    uint8_t exponents[4];
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      const float* x = values + i;
      if (i % 128 == 0) fit::exponents(x, importance ? importance + i : nullptr, (n - i) / 32, exponents);
      Block b;
      b.e = exponents[i / 32 % 4];
      uint8_t code[32];
      for (int j = 0; j < 32; ++j) code[j] = nearest(x[j], half_power(b.e));
      for (int j = 0; j < 16; ++j) b.q[j] = uint8_t(code[j] | code[j + 16] << 4);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kMXFP4,
                                     .name = "mxfp4",
                                     .block_elems = 32,
                                     .block_bytes = 17,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 38};

 private:
  // The code of the value nearest x / scale.
  static uint8_t nearest(float x, float scale) {
    const float magnitude = std::fabs(x);
    uint8_t code = 0;
    for (int k = 0; k < 7; ++k) code += magnitude > 0.5f * float(Book::kValues[k] + Book::kValues[k + 1]) * scale;
    return uint8_t(code | (x < 0 && code ? 8 : 0));
  }
};
static_assert(sizeof(MXFP4::Block) == MXFP4::kFormat.block_bytes);

}  // namespace hunch::format
