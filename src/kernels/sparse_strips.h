// Pruned matrices without their zeros, in strips: sixteen rows interleaved as in formats/strip_shape.h, so that lanes
// are rows and nothing is shuffled but what puts the values in their places.
//
// A strip is one stream, its blocks of 32 columns one after the other. Where a span begins, its scales stand before the
// first block: f16 [16 rows] (none of f16). Scales together at the front would be a second stream, which costs a third
// of the speed on Zen 5.
//
//   any zeros    64 bytes of masks and the values of the bits that are set, as many as there are. The masks of a block
//                stand before the values of the block before it, those of the first at the very front: where values
//                begin is known without waiting for masks that lie behind them. q8_0 and q4_0: eight masks of 64 bits,
//                mask k of columns 4 k .. 4 k + 3, bit 4 r + j for column 4 k + j of row r; values in the order of
//                bits, a byte each (code + 128), or a nibble (code + 8; lower first, each mask's from a whole byte on).
//                f16: 32 masks of 16 bits, one of each column, bit r for row r.
//   two of four  of q8_0 and q4_0, where no four neighbours (from a multiple of four on) of any row have three values:
//                48 bytes of patterns, then two values for every four columns of each row. Of the g-th eight columns,
//                bits 6 r .. 6 r + 2 of the g-th twelve bytes say which two of the first four are row r's (kPairs),
//                and the next three bits which of the last four; four values a row, these two and those two. Values of
//                q8_0 are bytes (code + 128), sixteen rows of g after the other; of q4_0 nibbles (code + 8), the lower
//                ones of 64 bytes for an even g and the upper ones for the odd one that follows.
//
// Rows past the last are zeros.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "formats/sparse_rows.h"
#include "kernels/matmul.h"

namespace hunch {

// The pairs of four columns that patterns stand for.
inline constexpr std::array<std::array<uint8_t, 2>, 6> kPairs = {{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}};

struct SparseStrips {
  DType dtype = DType::kQ8_0;
  size_t rows = 0, cols = 0, span = 0;  // as in SparseRows
  bool two_of_four = false;
  const std::byte* data = nullptr;  // readable for AlignedBuffer::kPadBytes past its end
  std::span<const size_t> offsets;  // [n_strips + 1]

  size_t n_strips() const { return (rows + 15) / 16; }
  size_t bytes() const { return offsets.empty() ? 0 : offsets.back(); }
};

// Strips and their memory.
class OwnedStrips {
 public:
  OwnedStrips() = default;
  // Throws Error{kMemory}; Error{kInterrupted} where the computation is stopped.
  OwnedStrips(Compute& compute, const SparseRows& W);
  const SparseStrips& view() const { return view_; }

 private:
  AlignedBuffer data_;
  std::vector<size_t> offsets_;
  SparseStrips view_;
};

// Y[t, r] = dot(W[r, :], X[t, :]) + bias[r]. As matmul() with the same weights in blocks of W.dtype: a product of q8_0
// or q4_0 rounds X as it does there, and where it does not take AMX tiles it has the bits of strips
// (kernels/strips.h).
//
//   X [n_tokens, cols]   bias [rows] or empty   Y [n_tokens, rows], written; may not overlap X
void sparse_matmul(Compute& compute, MatView<const float> X, const SparseStrips& W, std::span<const float> bias,
                   MatView<float> Y, TokenBits bits = TokenBits::kFastest);

namespace ref {  // a value at a time
// Rows 16 i .. of W, those there are: out [up to 16, cols].
void decode_strip(const SparseStrips& W, size_t i, MatView<float> out);
}  // namespace ref
}  // namespace hunch
