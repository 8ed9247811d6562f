// Turning weight matrices of plain elements, which loses nothing.
#pragma once
#include "base/compute.h"
#include "formats/weight_view.h"

namespace hunch {

// Row c of `out` becomes column c of W.
//
//   W    [rows, cols]  plain elements
//   out  cols rows of `rows` elements, stride_bytes apart; written, not overlapping W
void transpose_plain(Compute& compute, const WeightView& W, std::byte* out, size_t stride_bytes);

}  // namespace hunch
