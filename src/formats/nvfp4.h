// NVFP4: blocks of 64 floats of four bits (OCP's E2M1), with a float of eight bits (E4M3, no sign) for each sixteen.
#pragma once
#include <cmath>
#include <cstdint>

#include "formats/code_book.h"
#include "formats/dtype.h"

namespace hunch::format {

struct NVFP4 {
  static constexpr DType kDType = DType::kNVFP4;
  static constexpr const char* kName = "nvfp4";
  static constexpr uint32_t kElems = 64, kBytes = 36;

  // Four scales, then sixteen weights in eight bytes: the first eight in the low halves. The book has twice the values.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    for (int s = 0; s < 4; ++s) {
      scales[s] = 0.5f * scale(block[s]);
      for (int j = 0; j < 8; ++j) {
        const uint8_t pair = block[4 + 8 * s + j];
        codes[16 * s + j] = E2m1Values::kValues[pair & 15];
        codes[16 * s + 8 + j] = E2m1Values::kValues[pair >> 4];
      }
    }
  }
  // What would be no number counts as 0, as in ggml.
  static float scale(uint8_t e4m3) {
    const int exponent = e4m3 >> 3 & 15, mantissa = e4m3 & 7;
    if (e4m3 == 0x7f) return 0;
    return exponent ? std::ldexp(float(8 + mantissa), exponent - 10) : std::ldexp(float(mantissa), -9);
  }
};

}  // namespace hunch::format
