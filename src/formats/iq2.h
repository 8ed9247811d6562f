// IQ2_XXS, IQ2_XS and IQ2_S: eight magnitudes of 8, 25, 43 from a table, eight signs, a scale of 4 bits.
#pragma once
#include <cstdint>

#include "formats/dtype.h"
#include "formats/grids.h"
#include "formats/little_endian.h"

namespace hunch::format {

inline constexpr int8_t kIq2Levels[4] = {8, 25, 43, 0};

struct IQ2_XXS {
  static constexpr DType kDType = DType::kIQ2_XXS;
  static constexpr const char* kName = "iq2_xxs";
  static constexpr uint32_t kElems = 256, kBytes = 66;

  // d; for each 32 weights: four entries of a byte, then in 32 bits four times seven signs and the scale.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    for (int i = 0; i < 8; ++i) {
      const uint8_t* entries = block + 2 + 8 * i;
      const uint32_t rest = double_word_at(entries + 4);
      for (int l = 0; l < 4; ++l)
        grids::spread<8, 2>(grids::kIq2Xxs[entries[l]], grids::eight_signs(rest >> 7 * l & 127), kIq2Levels,
                            codes + 32 * i + 8 * l);
      scales[2 * i] = scales[2 * i + 1] = half_at(block) * (0.5f + float(rest >> 28)) * 0.25f;
    }
  }
};

struct IQ2_XS {
  static constexpr DType kDType = DType::kIQ2_XS;
  static constexpr const char* kName = "iq2_xs";
  static constexpr uint32_t kElems = 256, kBytes = 74;

  // d; 32 words: an entry of 9 bits, seven signs; a nibble of scale for each 16 weights.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    for (int i = 0; i < 32; ++i) {
      const unsigned q = word_at(block + 2 + 2 * i);
      grids::spread<8, 2>(grids::kIq2Xs[q & 511], grids::eight_signs(q >> 9), kIq2Levels, codes + 8 * i);
    }
    for (int j = 0; j < 16; ++j)
      scales[j] = half_at(block) * (0.5f + float(block[66 + j / 2] >> 4 * (j % 2) & 15)) * 0.25f;
  }
};

struct IQ2_S {
  static constexpr DType kDType = DType::kIQ2_S;
  static constexpr const char* kName = "iq2_s";
  static constexpr uint32_t kElems = 256, kBytes = 82;

  // d; the low eight bits of 32 entries; their signs, a byte each; the upper two bits of the entries, four to a byte;
  // the scales as in IQ2_XS.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    for (int i = 0; i < 32; ++i) {
      const unsigned entry = block[2 + i] | unsigned(block[66 + i / 4] >> 2 * (i % 4) & 3) << 8;
      grids::spread<8, 2>(grids::kIq2S[entry], block[34 + i], kIq2Levels, codes + 8 * i);
    }
    for (int j = 0; j < 16; ++j)
      scales[j] = half_at(block) * (0.5f + float(block[74 + j / 2] >> 4 * (j % 2) & 15)) * 0.25f;
  }
};

}  // namespace hunch::format
