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

  // 2^(e - 128): half of what e means, for the book has twice the floats' values. 255, which is no number in the
  // standard, is 2^127, as in ggml.
  static float half_scale(uint8_t e) {
    return std::bit_cast<float>(e < 2 ? uint32_t{0x00200000} << e : uint32_t(e - 1) << 23);
  }

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      for (int j = 0; j < 16; ++j) {
        out[i + j] = half_scale(b.e) * float(Book::kValues[b.q[j] & 15]);
        out[i + j + 16] = half_scale(b.e) * float(Book::kValues[b.q[j] >> 4]);
      }
    }
  }

  // The exponent of least error among those that bring the largest value near the largest float, 6.
  static void encode(const float* values, std::byte* blocks, size_t n, const float* importance) {
    for (size_t i = 0; i < n; i += 32, blocks += sizeof(Block)) {
      const float* x = values + i;
      const fit::Weights<32> weights(importance, i);
      const float largest = std::fabs(fit::extreme<32>(x));
      Block b{};
      if (largest >= fit::kLeast) {
        const int e0 = std::ilogb(largest) - 2 + 127;
        float best_error = INFINITY;
        for (int e = std::max(e0 - 1, 0); e <= std::min(e0 + 1, 254); ++e) {
          const float scale = half_scale(uint8_t(e));
          uint8_t code[32];
          for (int j = 0; j < 32; ++j) code[j] = nearest(x[j], scale);
          const float error = fit::sum<32>([&](int j) {
            const float off = (scale * float(Book::kValues[code[j]]) - x[j]) / largest;  // its square stays finite
            return weights.w[j] * off * off;
          });
          if (!(error < best_error)) continue;
          best_error = error;
          b.e = uint8_t(e);
          for (int j = 0; j < 16; ++j) b.q[j] = uint8_t(code[j] | code[j + 16] << 4);
        }
      }
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
