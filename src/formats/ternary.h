// TQ1_0, TQ2_0, Q2_0 and Q1_0: a scale, and weights of -1, 0, 1 (and 2), or of -1 and 1.
#pragma once
#include <algorithm>
#include <cstdint>

#include "formats/dtype.h"
#include "formats/little_endian.h"

namespace hunch::format {

struct TQ1_0 {
  static constexpr DType kDType = DType::kTQ1_0;
  static constexpr const char* kName = "tq1_0";
  static constexpr uint32_t kElems = 256, kBytes = 54;

  // A byte is 256 / 243 of a number of five digits of base 3, weight + 1 each: 32 bytes hold 160 weights, 16 more hold
  // 80, the last 4, with four digits, 16; byte m of a piece of n has its digit k in weight k * n + m. Then d.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    const auto piece = [&](const uint8_t* from, int n, int n_digits) {
      unsigned power = 1;
      for (int k = 0; k < n_digits; ++k, power *= 3)
        for (int m = 0; m < n; ++m) *codes++ = int8_t(int((from[m] * power & 255) * 3 >> 8) - 1);
    };
    piece(block, 32, 5);
    piece(block + 32, 16, 5);
    piece(block + 48, 4, 4);
    std::fill_n(scales, 16, half_at(block + 52));
  }
};

struct TQ2_0 {
  static constexpr DType kDType = DType::kTQ2_0;
  static constexpr const char* kName = "tq2_0";
  static constexpr uint32_t kElems = 256, kBytes = 66;

  // Two pieces of 32 bytes; byte m has weight 32 k + m of its 128, plus 1, in bits 2 k, 2 k + 1. Then d.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    for (int i = 0; i < 256; ++i) codes[i] = int8_t((block[i / 128 * 32 + i % 32] >> 2 * (i / 32 % 4) & 3) - 1);
    std::fill_n(scales, 16, half_at(block + 64));
  }
};

struct Q2_0 {
  static constexpr DType kDType = DType::kQ2_0;
  static constexpr const char* kName = "q2_0";
  static constexpr uint32_t kElems = 64, kBytes = 18;

  // d; weights plus 1, four to a byte, in order.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    for (int i = 0; i < 64; ++i) codes[i] = int8_t((block[2 + i / 4] >> 2 * (i % 4) & 3) - 1);
    std::fill_n(scales, 4, half_at(block));
  }
};

struct Q1_0 {
  static constexpr DType kDType = DType::kQ1_0;
  static constexpr const char* kName = "q1_0";
  static constexpr uint32_t kElems = 128, kBytes = 18;

  // d; a bit for each weight: 1, or else -1.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    for (int i = 0; i < 128; ++i) codes[i] = block[2 + i / 8] >> i % 8 & 1 ? 1 : -1;
    std::fill_n(scales, 8, half_at(block));
  }
};

}  // namespace hunch::format
