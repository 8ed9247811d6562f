// IQ1_S and IQ1_M: eight weights of -1, 0, 1 from a table of 2048, shifted by an eighth up or down, a scale of 3 bits.
#pragma once
#include <cstdint>

#include "formats/dtype.h"
#include "formats/grids.h"
#include "formats/little_endian.h"

namespace hunch::format {

// Eight times (weight + or - 1/8), all integers.
inline void spread_eighths(unsigned entry, bool down, int8_t* codes) {
  constexpr int8_t kUp[4] = {-7, 1, 9, 0}, kDown[4] = {-9, -1, 7, 0};
  grids::spread<8, 2>(grids::kIq1[entry & 2047], 0, down ? kDown : kUp, codes);
}

struct IQ1_S {
  static constexpr DType kDType = DType::kIQ1_S;
  static constexpr const char* kName = "iq1_s";
  static constexpr uint32_t kElems = 256, kBytes = 50;

  // d; the low eight bits of 32 entries; for each 32 weights a word: three bits more of four entries, the scale (3
  // bits), the direction.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    for (int i = 0; i < 32; ++i) {
      const unsigned high = word_at(block + 34 + 2 * (i / 4));
      spread_eighths(block[2 + i] | (high >> 3 * (i % 4) & 7) << 8, high >> 15, codes + 8 * i);
      scales[i / 2] = half_at(block) * float(2 * (high >> 12 & 7) + 1) * 0.125f;
    }
  }
};

struct IQ1_M {
  static constexpr DType kDType = DType::kIQ1_M;
  static constexpr const char* kName = "iq1_m";
  static constexpr uint32_t kElems = 256, kBytes = 56;

  // The low eight bits of 32 entries; a nibble each: three bits more and the direction; four words: four scales of 3
  // bits (16 weights) and a nibble of d.
  static void spread(const uint8_t* block, int8_t* codes, float* scales) {
    unsigned d = 0;
    for (int i = 0; i < 4; ++i) d |= unsigned(word_at(block + 48 + 2 * i) >> 12) << 4 * i;
    for (int i = 0; i < 32; ++i) {
      const unsigned high = block[32 + i / 2] >> 4 * (i % 2) & 15;
      spread_eighths(block[i] | (high & 7) << 8, high >> 3, codes + 8 * i);
      const unsigned scale = word_at(block + 48 + 2 * (i / 8)) >> 3 * (i / 2 % 4) & 7;
      scales[i / 2] = to_f32(f16{uint16_t(d)}) * float(2 * scale + 1) * 0.125f;
    }
  }
};

}  // namespace hunch::format
