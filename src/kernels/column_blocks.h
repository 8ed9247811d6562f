// A product that reads some blocks of a matrix's columns: what W_o does with the heads that were selected.
#pragma once
#include <span>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "formats/weight_view.h"

namespace hunch {

// A matrix [rows, n_blocks * width] as blocks of `width` columns. The two strides allow both the order of a
// file (row-major: a block's part of a row is `row_stride_bytes` before that of the next row) and the order that
// keeps each block together (block-major), in which a block that is left out is a stretch of memory that is not read.
struct ColumnBlocks {
  DType dtype = DType::kF32;
  const std::byte* data = nullptr;
  size_t rows = 0, n_blocks = 0, width = 0;  // width: whole blocks of the dtype
  size_t row_stride_bytes = 0, block_stride_bytes = 0;

  explicit operator bool() const { return data != nullptr; }
  const std::byte* at(size_t row, size_t block) const {
    return data + row * row_stride_bytes + block * block_stride_bytes;
  }
  // Bytes that one block of all rows takes.
  size_t block_bytes() const { return rows * row_bytes(dtype, width); }
};

// Whether a matrix of this dtype can be cut into blocks of so many columns.
bool can_cut_columns(DType dtype, size_t width);

// W as it lies, cut into n_blocks blocks of equal width. can_cut_columns() must hold: HUNCH_CHECK.
ColumnBlocks column_blocks(const WeightView& W, size_t n_blocks);

// Bytes of the block-major copy, and the copy itself (made in parallel, without loss: whole blocks of the dtype move).
size_t block_major_bytes(const ColumnBlocks& W);
ColumnBlocks to_block_major(Compute& compute, const ColumnBlocks& W, std::byte* memory);

// y[r] = sum over k, i of W[r, blocks[k] * width + i] * x[blocks[k] * width + i] + bias[r].
//
//   blocks  [n]               strictly increasing, each < W.n_blocks; none: y is the bias
//   x       [n_blocks * width] read where it is selected only
//   bias    [rows] or empty    y [rows], written; may not overlap x
//
// Numerics as matmul() of one token. Fastest where the matrix is block-major: the kernels then read each selected
// block as a stream (plain dtypes; q8_0 and q4_0 with AVX-512); elsewhere the selected parts of a few rows at a time
// are copied side by side in cache and multiplied there.
void dot_column_blocks(Compute& compute, const ColumnBlocks& W, std::span<const uint32_t> blocks,
                       std::span<const float> x, std::span<const float> bias, std::span<float> y);

namespace ref {
void dot_column_blocks(const ColumnBlocks& W, std::span<const uint32_t> blocks, std::span<const float> x,
                       std::span<const float> bias, std::span<float> y);
}  // namespace ref
}  // namespace hunch
