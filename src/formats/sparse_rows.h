// Rows of a pruned matrix as a bit for every weight and the weights that are not zero: how they lie in a file
// (io/sparse_tensors.h) and between files and the kernels' own order (kernels/sparse_strips.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "formats/weight_view.h"

namespace hunch {

// The numbers are those of blocks of q8_0 or q4_0, or f16: they go there and back without loss.
struct SparseRows {
  DType dtype = DType::kQ8_0;  // kQ8_0, kQ4_0 or kF16
  size_t rows = 0, cols = 0;   // cols: a multiple of 32
  size_t span = 0;             // columns that share a scale, a multiple of 32 that divides cols; 0 of f16
  // [rows][cols / 8]: bit c % 8 of byte c / 8 is set where column c is in `values`.
  const std::byte* mask = nullptr;
  // Of one row after the other, in the order of its columns: a byte of q8_0 (its code), f16, or of q4_0 a nibble, the
  // code plus 8, the lower one first; each row begins with a whole byte.
  const std::byte* values = nullptr;
  const std::byte* scales = nullptr;  // f16 [rows][cols / span]

  explicit operator bool() const { return mask != nullptr; }
  const std::byte* mask_row(size_t r) const { return mask + r * (cols / 8); }
};

// Whether weights of this type can lie in sparse rows.
bool has_sparse_rows(DType dtype);
// Bytes of n values of a row.
size_t sparse_value_bytes(DType dtype, size_t n);
// The bits that are set in n bytes.
size_t count_bits(const std::byte* mask, size_t n);

// Where the values of each row begin, and those of the last end: [rows + 1]. From the mask alone.
std::vector<size_t> sparse_offsets(const SparseRows& W);

// out[c] for c in [0, cols): row r, whose values lie at `values`.
void decode_sparse_row(const SparseRows& W, size_t r, const std::byte* values, float* out);
// The same as blocks of W.dtype, row_bytes(dtype, cols) of them.
void sparse_row_to_blocks(const SparseRows& W, size_t r, const std::byte* values, std::byte* blocks);

// From blocks of a type that has sparse rows to sparse ones.
//
// The columns that can share a scale everywhere in W: all of them, 128, 64 or 32; 0 of f16.
size_t sparse_span(const WeightView& W);
// Weights of row r that are not zero. Of f16, -0 is 0.
size_t count_nonzero(const WeightView& W, size_t r);
// mask [cols / 8], scales f16 [cols / span] (none of f16), values [sparse_value_bytes(count_nonzero)].
void sparse_row_of_blocks(const WeightView& W, size_t r, size_t span, std::byte* mask, std::byte* scales,
                          std::byte* values);

}  // namespace hunch
