// What products of sparse strips are made of, by SIMD target. Internal to kernels/sparse_matmul.cc.
#pragma once
#include <cstddef>

#include "kernels/quantize.h"
#include "kernels/sparse_strips.h"

namespace hunch {

// Whether the SIMD target in use multiplies sparse strips; the scalar one does not.
bool multiplies_sparse();
// Whether strips that expand_sparse() made are what gemm_int8() and gemm_tiles() read; else they want rows.
bool panels_take_strips();

// Y[t, r] for the rows of strips [begin, end), of q8_0 or q4_0.
void dot_sparse(const SparseStrips& W, const QuantizedX& x, const float* bias, MatView<float> Y, size_t begin,
                size_t end);
// Strip i of q8_0 or q4_0 as a dense one, strip_bytes(W.dtype, W.cols) long.
void expand_sparse(const SparseStrips& W, size_t i, std::byte* out);

// The same of f16, in f32. Strips become rows, up to 16 of them: [rows, cols].
void dot_halves(const SparseStrips& W, MatView<const float> X, const float* bias, MatView<float> Y, size_t begin,
                size_t end);
void expand_halves(const SparseStrips& W, size_t i, std::byte* out);

}  // namespace hunch
