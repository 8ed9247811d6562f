// Products of many tokens: panels of weight rows are unpacked into cache and reused for every token.
#pragma once
#include <cstddef>
#include <cstdint>

#include "formats/weight_view.h"
#include "kernels/quantize.h"

namespace hunch {

// Y[t, i] = dot(W[i, :], X[t, :]) + bias[i].
struct GemmArgs {
  WeightView W;
  const float* bias = nullptr;  // as long as a row of Y, or null
  MatView<float> Y;             // [n_tokens, W.rows], or W.cols where W is transposed
};

// Rows that share a panel: callers hand out ranges that begin at multiples of it.
size_t gemm_int8_panel_rows();
// Scratch bytes that each thread needs, 64-byte aligned.
size_t gemm_int8_panel_bytes();
// Rows [begin, end) for all tokens of x. Quantised weights.
void gemm_int8(const GemmArgs& args, const QuantizedX& x, size_t begin, size_t end, std::byte* panel);

// X in tiles of tokens, column by column, as the f32 GEMM reads it: gemm_packed_floats floats, tile by
// tile. Tiles [begin, end) of gemm_n_tiles may be packed by different threads.
size_t gemm_n_tiles(size_t n_tokens);
size_t gemm_packed_floats(size_t n_tokens, size_t n_in);
void gemm_pack(MatView<const float> X, size_t begin, size_t end, float* packed);

// Rows (or columns) of Y that a range may be a multiple of, and scratch bytes that each thread needs.
size_t gemm_float_width();
size_t gemm_float_panel_bytes();

// Rows [begin, end) for all tokens, of weights whose products are of floats; products and sums in f32.
void gemm_float(const GemmArgs& args, const float* packed, size_t begin, size_t end, std::byte* panel);

// Y[t, c] = sum_k A[t, k] * W[k, c] + bias[c] for columns [begin, end), which hold whole blocks of W;
// `packed` is of A. Any dtype, decoded to f32.
void gemm_transposed(const GemmArgs& args, const float* packed, size_t begin, size_t end, std::byte* panel);

}  // namespace hunch
