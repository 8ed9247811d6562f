// IQ3_XXS and IQ3_S: four magnitudes from a table, their signs, a scale of 4 bits for each 32 weights.
#pragma once
#include <cstdint>

#include "formats/dtype.h"
#include "formats/grids.h"
#include "formats/little_endian.h"

namespace hunch::format {

struct IQ3_XXS {
  static constexpr DType kDType = DType::kIQ3_XXS;
  static constexpr const char* kName = "iq3_xxs";
  static constexpr uint32_t kElems = 256, kBytes = 98;

  // d; 64 entries of a byte; for each 32 weights 32 bits: four times seven signs, for eight weights each, and the
  // scale.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    constexpr int8_t kLevels[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    for (int i = 0; i < 8; ++i) {
      const uint32_t rest = double_word_at(block + 66 + 4 * i);
      for (int l = 0; l < 8; ++l) {
        const unsigned signs = grids::eight_signs(rest >> 7 * (l / 2) & 127) >> 4 * (l % 2);
        grids::spread<4, 3>(grids::kIq3Xxs[block[2 + 8 * i + l]], signs, kLevels, codes + 32 * i + 4 * l);
      }
      scales[2 * i] = scales[2 * i + 1] = half_at(block) * (0.5f + float(rest >> 28)) * 0.5f;
    }
  }
};

struct IQ3_S {
  static constexpr DType kDType = DType::kIQ3_S;
  static constexpr const char* kName = "iq3_s";
  static constexpr uint32_t kElems = 256, kBytes = 110;

  // d; the low eight bits of 64 entries; their ninth bits; 256 signs; a nibble of scale for each 32 weights.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    constexpr int8_t kLevels[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    for (int i = 0; i < 64; ++i) {
      const unsigned entry = block[2 + i] | unsigned(block[66 + i / 8] >> i % 8 & 1) << 8;
      grids::spread<4, 3>(grids::kIq3S[entry], unsigned(block[74 + i / 2]) >> 4 * (i % 2), kLevels, codes + 4 * i);
    }
    for (int j = 0; j < 16; ++j)
      scales[j] = half_at(block) * float(1 + 2 * (block[106 + j / 4] >> 4 * (j / 2 % 2) & 15));
  }
};

}  // namespace hunch::format
