// Strips: sixteen rows of a quantised matrix interleaved, for products with all rows. A product runs through a strip
// once, from its first byte to its last: one stream for sixteen rows, and a register's lanes are rows, so that nothing
// is shuffled or summed across lanes.
//
// A strip is a list of groups of columns, each with the head (the scales of its blocks as the format stores
// them, one after the other for the sixteen rows) and then its codes, unsigned, in blocks of 32 columns:
//
//   4 bits   4 lines of 64 bytes  [4][16 rows][4]: byte j of row r in line k holds column 4 k + j in its low half and
//            column 4 (k + 4) + j in its high half
//   5 bits   the same of the low four bits, and a line in which bit k of byte j of row r belongs to column 4 k + j
//   6 bits   the same, and two lines, of columns 4 k + j: bits 2 (k % 4) of line k / 4
//   8 bits   8 lines: line k holds columns 4 k .. 4 k + 3
//
// The last group is padded with zeros, and so are the rows of a last strip.
#pragma once
#include <cstddef>

#include "formats/table.h"

namespace hunch {

constexpr size_t kStripRows = 16;

// What a strip of a quantised format is made of.
template <class F>
struct StripShape;

struct StripCodes {
  size_t columns;     // of a group
  size_t bits;        // of a code
  size_t head_bytes;  // of a group
  int offset;         // a code is the weight's integer plus this
  constexpr size_t n_blocks() const { return columns / 32; }
  constexpr size_t block_bytes() const { return bits * 64; }
  constexpr size_t group_bytes() const { return head_bytes + n_blocks() * block_bytes(); }
};

// Two blocks, so that groups begin on cache lines: their scales, and their minima.
template <>
struct StripShape<format::Q8_0> {
  static constexpr StripCodes kCodes = {64, 8, 64, 128};
};
template <>
struct StripShape<format::Q4_0> {
  static constexpr StripCodes kCodes = {64, 4, 64, 8};
};
template <>
struct StripShape<format::Q4_1> {
  static constexpr StripCodes kCodes = {64, 4, 128, 0};
};
// A block: d, d_min; the low halves of the scales and minima of the eight sub-blocks, a byte of both each; and their
// upper bits, four of two bits in a byte: scale and minimum of sub-block j, then of j + 4.
template <>
struct StripShape<format::Q4_K> {
  static constexpr StripCodes kCodes = {256, 4, 256, 0};
};
template <>
struct StripShape<format::Q5_K> {
  static constexpr StripCodes kCodes = {256, 5, 256, 0};
};
// A block: the sixteen scales of 8 bits, then d.
template <>
struct StripShape<format::Q6_K> {
  static constexpr StripCodes kCodes = {256, 6, 288, 32};
};

// Bytes of a strip of rows of `n_in` elements.
inline size_t strip_bytes(DType dtype, size_t n_in) {
  return with_format<size_t>(dtype, [&](QuantisedFormat auto f) -> size_t {
    constexpr StripCodes s = StripShape<decltype(f)>::kCodes;
    return (n_in + s.columns - 1) / s.columns * s.group_bytes();
  });
}

}  // namespace hunch
