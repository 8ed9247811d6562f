// Products with strips: matrices of blocks of which sixteen rows lie interleaved (formats/strip_shape.h).
#pragma once
#include <cstddef>

#include "kernels/gemv.h"
#include "kernels/strips/token_tiles.h"

namespace hunch {

// Whether the SIMD target in use multiplies strips. The scalar one does not: there is nothing to gain.
bool multiplies_strips();

// Strips i in [begin, end) of W, from its rows, each to out + i * strip_bytes(W.dtype, W.cols).
void pack_strips(const WeightView& W, size_t begin, size_t end, std::byte* out);

// Whether this machine multiplies strips with so many tokens in AMX tiles, from TokenTiles.
bool strips_in_tiles(size_t n_tokens);

// As gemv_int8(), from W.strips; begin is a multiple of sixteen, and end too, or W.rows; no ids. `tiles`: x once more,
// if strips_in_tiles() of its tokens. A token's bits do not depend on how many are computed together, or on how: they
// are gemm_int8()'s.
void dot_strips(const GemvArgs& args, const QuantizedX& x, const TokenTiles& tiles, size_t begin, size_t end);

// The same of blocks whose products are of floats (multiplies_floats()), as gemv_float(). A token's bits do not depend
// on how many are computed together.
void dot_float_strips(const GemvArgs& args, MatView<const float> X, size_t begin, size_t end);

}  // namespace hunch
