// How Q5_0 and Q5_1 hold 32 codes of five bits.
#pragma once
#include <cstdint>
#include <cstring>

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
  for (int i = 0; i < 16; ++i) q[i] = uint8_t((code[i] & 15) | (code[16 + i] & 15) << 4);
  for (int i = 0; i < 4; ++i) {
    // Bit 4 of eight codes: the product brings that of code k to bit 56 + k.
    uint64_t eight;
    std::memcpy(&eight, code + 8 * i, sizeof eight);
    high[i] = uint8_t(((eight >> 4 & 0x0101010101010101u) * 0x0102040810204080u) >> 56);
  }
}

}  // namespace hunch
