// Strips: sixteen rows of a quantised matrix interleaved, for products with all rows. A product runs through a strip
// once, from its first byte to its last: one stream for sixteen rows, and a register's lanes are rows, so that nothing
// is shuffled or summed across lanes.
//
// A strip is a list of groups of columns, each with the head (the scales of its blocks as the format stores
// them, one after the other for the sixteen rows) and then its codes, unsigned, in blocks of 32 columns:
//
//   2 bits   2 lines of 64 bytes  [2][16 rows][4]: byte j of row r in line k holds columns 4 k + j, 4 (k + 2) + j,
//            4 (k + 4) + j and 4 (k + 6) + j, lowest bits first
//   3 bits   the same of the low two bits, and a line in which bit k of byte j of row r belongs to column 4 k + j
//   4 bits   4 lines of 64 bytes  [4][16 rows][4]: byte j of row r in line k holds column 4 k + j in its low half and
//            column 4 (k + 4) + j in its high half
//   5 bits   the same of the low four bits, and a line as that of 3 bits
//   6 bits   the same, and two lines, of columns 4 k + j: bits 2 (k % 4) of line k / 4
//   8 bits   8 lines: line k holds columns 4 k .. 4 k + 3
//
// Formats whose numbers are floats have the same, of 4 and of 8 bits, but that line k of 8 bits is [4 columns][16
// rows], and that a group, 64 columns, has one scale for each row. They are multiplied as floats.
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

enum class CodeBook : uint8_t { kNone, kIq4, kE2m1 };

// Bits of a code, and the book in which codes of four bits are looked up, where there is one (formats/code_book.h).
struct StripBits {
  size_t n;
  CodeBook book = CodeBook::kNone;
  constexpr StripBits(size_t bits, CodeBook code_book = CodeBook::kNone) : n(bits), book(code_book) {}  // NOLINT
  constexpr operator size_t() const { return n; }                                                       // NOLINT
};

struct StripCodes {
  size_t columns;     // of a group
  StripBits bits;     // of a code
  size_t head_bytes;  // of a group
  int offset;         // a code, or what the book says of it, is the weight's integer plus this
  // Bits of what is multiplied.
  constexpr size_t value_bits() const {
    return bits.book == CodeBook::kIq4 ? 8 : bits.book == CodeBook::kE2m1 ? 5 : bits.n;
  }
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
template <>
struct StripShape<format::Q5_0> {
  static constexpr StripCodes kCodes = {64, 5, 64, 16};
};
template <>
struct StripShape<format::Q5_1> {
  static constexpr StripCodes kCodes = {64, 5, 128, 0};
};
template <>
struct StripShape<format::IQ4_NL> {
  static constexpr StripCodes kCodes = {64, {4, CodeBook::kIq4}, 64, 128};
};
// Two blocks: their four scales, f32.
template <>
struct StripShape<format::I8_16> {
  static constexpr StripCodes kCodes = {64, 8, 256, 128};
};
// Four blocks: their exponents.
template <>
struct StripShape<format::MXFP4> {
  static constexpr StripCodes kCodes = {128, {4, CodeBook::kE2m1}, 64, 16};
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
// A block: the scales, of 8 bits, then d.
template <>
struct StripShape<format::Q6_K> {
  static constexpr StripCodes kCodes = {256, 6, 288, 32};
};
template <>
struct StripShape<format::Q3_K> {
  static constexpr StripCodes kCodes = {256, 3, 288, 4};
};
template <>
struct StripShape<format::IQ4_XS> {
  static constexpr StripCodes kCodes = {256, {4, CodeBook::kIq4}, 160, 128};
};
// A block: d, d_min; the sixteen scales and minima, a byte of both.
template <>
struct StripShape<format::Q2_K> {
  static constexpr StripCodes kCodes = {256, 2, 320, 0};
};

// The scales, f32.
template <>
struct StripShape<format::NF4> {
  static constexpr StripCodes kCodes = {64, 4, 64, 0};
};
template <>
struct StripShape<format::FP4> {
  static constexpr StripCodes kCodes = {64, 4, 64, 0};
};
template <>
struct StripShape<format::FP8> {
  static constexpr StripCodes kCodes = {64, 8, 64, 0};
};
template <>
struct StripShape<format::I8_64> {
  static constexpr StripCodes kCodes = {64, 8, 64, 0};
};

// Bytes of a strip of rows of `n_in` elements.
inline size_t strip_bytes(DType dtype, size_t n_in) {
  return with_format<size_t>(dtype, [&](BlockFormat auto f) -> size_t {
    constexpr StripCodes s = StripShape<decltype(f)>::kCodes;
    return (n_in + s.columns - 1) / s.columns * s.group_bytes();
  });
}

}  // namespace hunch
