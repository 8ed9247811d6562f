// The tables that IQ1, IQ2 and IQ3 types look groups of weights up in. Part of the published definition of these types;
// here each entry is a number, two or three bits for a weight, the first in the lowest (tools/make_format_grids.py).
#pragma once
#include <cstdint>

namespace hunch::grids {

// Eight weights, two bits each: 0, 1, 2 for magnitudes 8, 25, 43.
extern const uint16_t kIq2Xxs[256];
extern const uint16_t kIq2Xs[512];
extern const uint16_t kIq2S[1024];
// Four weights, three bits each: k for a magnitude of 4, 12, 20, 28, 36, 44, 52, 62.
extern const uint16_t kIq3Xxs[256];
// Four weights, three bits each: k for a magnitude of 2 k + 1.
extern const uint16_t kIq3S[512];
// Eight weights, two bits each: 0, 1, 2 for -1, 0, 1.
extern const uint16_t kIq1[2048];

// Seven stored signs and the eighth, which makes the number of minus signs even.
inline unsigned eight_signs(unsigned seven) {
  unsigned parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (seven & 127) | (parity & 1) << 7;
}

// Puts N weights of an entry, negative where `signs` has a bit, to `codes`.
template <int N, int kBits>
inline void spread(unsigned entry, unsigned signs, const int8_t (&levels)[1 << kBits], int8_t* codes) {
  for (int j = 0; j < N; ++j) {
    const int8_t level = levels[entry >> kBits * j & ((1 << kBits) - 1)];
    codes[j] = signs >> j & 1 ? int8_t(-level) : level;
  }
}

}  // namespace hunch::grids
