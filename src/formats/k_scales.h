// The scales that Q4_K and Q5_K share.
#pragma once
#include <cstdint>

namespace hunch {

// The eight 6-bit scales and eight 6-bit minima packed into twelve bytes: entries 0..3 in the low six
// bits of bytes 0..3 (scales) and 4..7 (minima); entries 4..7 have their low four bits in the nibbles
// of bytes 8..11 and their upper two in the top bits of bytes 0..3 and 4..7.
inline void unpack_scales(const uint8_t packed[12], uint8_t scale[8], uint8_t min[8]) {
  for (int j = 0; j < 4; ++j) {
    scale[j] = packed[j] & 63;
    min[j] = packed[j + 4] & 63;
    scale[j + 4] = uint8_t((packed[j + 8] & 15) | (packed[j] >> 6 << 4));
    min[j + 4] = uint8_t((packed[j + 8] >> 4) | (packed[j + 4] >> 6 << 4));
  }
}

inline void pack_scales(const uint8_t scale[8], const uint8_t min[8], uint8_t packed[12]) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = uint8_t(scale[j] | (scale[j + 4] >> 4 << 6));
    packed[j + 4] = uint8_t(min[j] | (min[j + 4] >> 4 << 6));
    packed[j + 8] = uint8_t((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
  }
}

}  // namespace hunch
