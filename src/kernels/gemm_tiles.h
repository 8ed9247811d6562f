// Products of many tokens in tiles of bf16, summed in f32. With AMX a core does 512 multiply-adds a cycle this way,
// sixteen times as many as f32 vectors and four times as many as int8 ones; vectors of bf16 (AVX-512) do twice as many
// as f32 ones, for those who asked to have plain weights rounded.
#pragma once
#include <cstddef>

#include "base/precision.h"
#include "kernels/gemm.h"
#include "kernels/gemv.h"
#include "kernels/tiles/tile_x.h"

namespace hunch {

// Whether this machine has AMX tiles and the SIMD target in use takes them.
bool multiplies_tiles();

// Whether products with such weights are to be made here: with AMX all but F32, which are for people who want them
// exact; what is multiplied as floats, F32 too, where it may be rounded to bf16 and the machine gains by it.
bool suits_tiles(DType dtype, Precision precision);

// How many parts of X a product with weights of this type wants. BF16 weights are what they are, F16 ones are taken in
// two parts too, and the product of the lower parts is left out: the error is below 2^-16 of sum |w x|, and typically
// 5e-6 of the result; where all lower parts of some weights are zeros, as they are of models trained in bf16, their
// products are left out too. Infinity may come out as NaN. Weights in blocks are decoded and rounded to bf16 as X is,
// upper parts only: less than half of the error of X in int8; and so are plain ones at Precision::kBf16.
Bf16Parts tile_parts(DType dtype, Precision precision);

// Tokens of tiles [begin, end) of X into the memory behind x, whose shape and parts are X's.
void pack_tile_x(MatView<const float> X, const TileX& x, size_t begin, size_t end, uint16_t* memory);

// Rows that share a panel (ranges begin at multiples of it), and scratch bytes that each thread needs, 64-byte aligned.
constexpr size_t kTilePanelRows = 32;
size_t tile_panel_bytes(size_t n_tokens);
// Rows [begin, end) of W for all tokens of x; a dtype that suits, strips where it has them. x may have more parts than
// the dtype wants, which are not read; plain weights are taken in as many. May be called by several threads.
void gemm_tiles(const GemmArgs& args, const TileX& x, size_t begin, size_t end, std::byte* panel);

// Y[t, c] = sum_k A[t, k] * W[k, c] + bias[c] for columns [begin, end), which hold whole blocks of W; x is of A.
constexpr size_t kTileTransposedColumns = 256;  // of a panel: whole blocks of every format
size_t tile_transposed_panel_bytes(size_t n_tokens);
void gemm_tiles_transposed(const GemmArgs& args, const TileX& x, size_t begin, size_t end, std::byte* panel);

// As gemv_axpy() for at most 32 tokens and a dtype that suits, rounded as above, but the sums lie in tiles of sixteen
// columns: sums[(column / 16 * n_tiles + token / 16) * 256 + token % 16 * 16 + column % 16], of n_tiles = ceil(tokens /
// 16). They are added to. args.y and skip_zeros are not used.
void add_rows_in_tiles(const AxpyArgs& args, size_t begin, size_t end, float* sums);

}  // namespace hunch
