// Turning weight matrices of plain elements, which loses nothing.
#pragma once
#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// True for f32, f16 and bf16: every element stands alone, so that a transposed row holds the same values. The elements
// of a quantised block share their scale with neighbours in their row, and cannot be turned without rounding anew.
inline bool is_plain(DType dtype) { return info(dtype).block_elems == 1; }

// Row c of `out` becomes column c of W.
//
//   W    [rows, cols]  plain elements
//   out  cols rows of `rows` elements, stride_bytes apart; written, not overlapping W
void transpose_plain(Compute& compute, const WeightView& W, std::byte* out, size_t stride_bytes);

}  // namespace hunch
