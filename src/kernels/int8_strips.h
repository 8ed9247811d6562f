// Matrices of int8 with a scale for each row, times tokens of int8 with a scale each: no scale interrupts a sum, so
// that sums are whole rows of integers, exact in whatever order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// A row's columns are filled up with zeros to whole steps.
constexpr size_t kInt8Step = 64;
constexpr size_t int8_padded(size_t n_in) { return (n_in + kInt8Step - 1) / kInt8Step * kInt8Step; }
// Sums of more could leave 32 bits: -128 * 127 each.
constexpr size_t kInt8MostColumns = size_t{1} << 17;

// Sixteen rows, [n_padded / 4][16 rows][4 columns]: a line of 64 bytes is four neighbouring columns (a quad) of each
// row, and sixteen lines are a tile as AMX multiplies it. Rows that are missing are zeros.
constexpr size_t kInt8StripRows = 16, kInt8Quad = 4;
constexpr size_t int8_strips(size_t n_out) { return (n_out + kInt8StripRows - 1) / kInt8StripRows; }
constexpr size_t int8_strip_bytes(size_t n_in) { return kInt8StripRows * int8_padded(n_in); }
// Rows [0, n_rows) of W, at most sixteen, each row_stride bytes after the one before.
void pack_int8_strip(const int8_t* W, size_t row_stride, size_t n_rows, size_t n_in, int8_t* strip);
// Row r of a strip; row [n_in].
void unpack_int8_row(const int8_t* strip, size_t r, std::span<int8_t> row);

// Tokens in int8: x = scale * code, codes in -127..127. They lie in tiles of sixteen, the last of fewer:
// [tile][n_padded / 64][token][64], so that what is multiplied with a piece of a strip is in one place.
struct Int8Tokens {
  static constexpr size_t kTile = 16;
  const int8_t* codes = nullptr;
  const float* scale = nullptr;  // [n_tokens]; NaN for a token that is not finite
  const int32_t* sum = nullptr;  // [n_tokens] of its codes
  size_t n_tokens = 0, n_in = 0;
  // Of a token alone: the quads of columns that are not all zeros, ascending, where others are not to be read.
  std::span<const uint32_t> quads;
  bool only_quads = false;

  size_t n_padded() const { return int8_padded(n_in); }
  size_t tokens_of_tile(size_t tile) const { return n_tokens - tile * kTile < kTile ? n_tokens - tile * kTile : kTile; }
  const int8_t* token(size_t t) const { return codes + t / kTile * kTile * n_padded() + t % kTile * kInt8Step; }
  size_t step_bytes(size_t t) const { return tokens_of_tile(t / kTile) * kInt8Step; }
};

// X [n_tokens, n_in] rounded to the nearest even. input_scale 0: each token's scale is max |x| / 127. Else all have
// this one, and what exceeds 127 of it is cut off. Lives as long as the caller's scope of the arena.
Int8Tokens round_to_int8(Compute& compute, MatView<const float> X, float input_scale);

// A product of a call.
struct Int8Task {
  const int8_t* strips = nullptr;  // [int8_strips(n_out)], 64-byte aligned
  const float* scale = nullptr;    // [n_out, filled up to whole strips]
  const float* bias = nullptr;     // the same, or none
  MatView<float> Y;                // [n_tokens, n_out], written
  // Ascending: the strips whose rows are computed; other rows of Y are left as they are.
  std::span<const uint32_t> chosen;
  bool only_chosen = false;
};

// Y[t, r] = scale[r] * x.scale[t] * (the sum of codes of row r times those of token t) + bias[r]. The bits of an
// element depend on its row and its token alone, on one SIMD target. AMX tiles take many tokens, VNNI few.
void multiply_int8(Compute& compute, const Int8Tokens& x, std::span<const Int8Task> tasks);

namespace ref {  // a column at a time
Int8Tokens round_to_int8(Compute& compute, MatView<const float> X, float input_scale);
void multiply_int8(const Int8Tokens& x, const Int8Task& task);
}  // namespace ref
}  // namespace hunch
