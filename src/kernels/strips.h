// Products with strips: quantised matrices of which sixteen rows lie interleaved (formats/strip_shape.h).
#pragma once
#include <cstddef>

#include "kernels/gemv.h"

namespace hunch {

// Whether the SIMD target in use multiplies strips. The scalar one does not: there is nothing to gain.
bool multiplies_strips();

// Strips i in [begin, end) of W, from its rows, each to out + i * strip_bytes(W.dtype, W.cols).
void pack_strips(const WeightView& W, size_t begin, size_t end, std::byte* out);

// As gemv_int8(), from W.strips; begin is a multiple of sixteen, and end too, or W.rows; no ids. A token's bits do not
// depend on how many are computed together: they are gemm_int8()'s.
void dot_strips(const GemvArgs& args, const QuantizedX& x, size_t begin, size_t end);

}  // namespace hunch
