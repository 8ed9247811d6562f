// Where values go that are put in their places by look-ups of bytes.
#pragma once
#include <bit>
#include <cstdint>

#include "kernels/sparse_strips.h"

namespace hunch {

// Of each mask of eight bits, for every bit: which of the values is there, 8 where it is not set.
struct MaskPlaces {
  uint8_t of[256][8] = {}, count[256] = {};
  constexpr MaskPlaces() {
    for (unsigned mask = 0; mask < 256; ++mask)
      for (unsigned bit = 0; bit < 8; ++bit) of[mask][bit] = mask >> bit & 1 ? count[mask]++ : uint8_t(8);
  }
};
inline constexpr MaskPlaces kPlaces;

// Of the patterns of a row's eight columns, three bits for each four: which of its four values stands in each column, 8
// where none does.
struct PairPlaces {
  uint8_t of[64][8] = {};
  constexpr PairPlaces() {
    for (unsigned patterns = 0; patterns < 64; ++patterns) {
      for (uint8_t& place : of[patterns]) place = 8;
      for (unsigned half = 0; half < 2; ++half) {
        const unsigned pattern = patterns >> 3 * half & 7;
        if (pattern >= kPairs.size()) continue;  // never packed
        for (unsigned j = 0; j < 2; ++j) of[patterns][4 * half + kPairs[pattern][j]] = uint8_t(2 * half + j);
      }
    }
  }
};
inline constexpr PairPlaces kPairPlaces;

}  // namespace hunch
