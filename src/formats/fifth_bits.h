// How Q5_0 and Q5_1 hold 32 codes of five bits.
#pragma once
#include <cstdint>

namespace hunch {

// Code i < 16: the low half of q[i] and bit i of the 32 in `high` (little endian); code 16 + i: the high half of q[i]
// and bit 16 + i.
inline void unpack_fifth(const uint8_t high[4], const uint8_t q[16], uint8_t code[32]) {
  for (int i = 0; i < 16; ++i) {
    code[i] = uint8_t((q[i] & 15) | (high[i / 8] >> i % 8 & 1) << 4);
    code[16 + i] = uint8_t((q[i] >> 4) | (high[2 + i / 8] >> i % 8 & 1) << 4);
  }
}

inline void pack_fifth(const uint8_t code[32], uint8_t high[4], uint8_t q[16]) {
  for (int i = 0; i < 4; ++i) high[i] = 0;
  for (int i = 0; i < 16; ++i) q[i] = uint8_t((code[i] & 15) | (code[16 + i] & 15) << 4);
  for (int i = 0; i < 32; ++i) high[i / 8] |= uint8_t(code[i] >> 4 << i % 8);
}

}  // namespace hunch
