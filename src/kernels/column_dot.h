// The wide inner loops of dot_column_blocks(), which read the selected blocks where they lie. Internal to
// kernels/; column_blocks.h is the interface.
#pragma once
#include "kernels/column_blocks.h"
#include "kernels/quantize.h"

namespace hunch {

struct ColumnDotArgs {
  ColumnBlocks W;
  std::span<const uint32_t> blocks;
  const float* x = nullptr;           // plain weights: [n_blocks * width], read where selected
  const std::byte* packed = nullptr;  // quantised weights: what column_dot_pack() made
  const float* bias = nullptr;        // may be null
  float* y = nullptr;
};

// Whether column_dot() can do this matrix on this machine.
bool column_dot_applies(const ColumnBlocks& W);
// How often each block of x stands in a row in what column_dot_pack() is given: several short rows of W are
// multiplied as one long one.
size_t column_dot_repeats(const ColumnBlocks& W);
size_t column_dot_packed_bytes(const ColumnBlocks& W, const QuantizedX& x);
void column_dot_pack(const ColumnBlocks& W, const QuantizedX& x, std::byte* packed);

// Rows that must stay together: ranges begin at multiples of it.
constexpr size_t kColumnDotRows = 32;
void column_dot(const ColumnDotArgs& args, size_t begin, size_t end);

}  // namespace hunch
