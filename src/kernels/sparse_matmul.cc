#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"
#include "formats/strip_shape.h"
#include "kernels/gemm.h"
#include "kernels/gemm_tiles.h"
#include "kernels/sparse_dot.h"
#include "kernels/sparse_pack.h"
#include "kernels/sparse_strips.h"

namespace hunch {
namespace {

constexpr size_t kMostPanelStrips = 8;  // that are expanded together: x is read once for so many rows
constexpr size_t kManyTokens = 24;  // from here on strips are expanded once instead of being read once per eight tokens
constexpr size_t kManyTokensOfFloats = 32;

// Strips of a panel: 2, 4 or 8, so that each thread gets about four.
size_t panel_strips(const SparseStrips& W, size_t n_threads) {
  size_t n = kMostPanelStrips;
  while (n > 2 && W.n_strips() < 4 * n * n_threads) n /= 2;
  return n;
}

// Some strips as a dense matrix, in scratch of the thread.
class DensePanel {
 public:
  static bool by_strips(const SparseStrips& W, bool tiles) {
    return !is_plain(W.dtype) && (tiles || panels_take_strips());
  }
  static size_t bytes(const SparseStrips& W, size_t n_strips, bool strips) {
    return round_up(n_strips * (strips ? strip_bytes(W.dtype, W.cols) : kStripRows * row_bytes(W.dtype, W.cols)), 64);
  }
  // Rows of strips [i, i + n), those there are.
  static WeightView fill(const SparseStrips& W, size_t i, size_t n, bool strips, std::byte* memory) {
    const size_t end = std::min(i + n, W.n_strips()), rows = std::min(end * kStripRows, W.rows) - i * kStripRows;
    WeightView dense{W.dtype, memory, rows, W.cols, row_bytes(W.dtype, W.cols)};
    const size_t stride = strips ? strip_bytes(W.dtype, W.cols) : kStripRows * dense.row_stride_bytes;
    if (strips) dense.strips = memory, dense.strip_stride_bytes = stride;
    for (size_t s = i; s < end; ++s) {
      std::byte* to = memory + (s - i) * stride;
      if (strips) {
        expand_sparse(W, s, to);
      } else if (is_plain(W.dtype) && multiplies_sparse()) {
        expand_halves(W, s, to);
      } else {
        strip_to_blocks(W, s, to);
      }
    }
    return dense;
  }
};

// multiply(args, panel), with some strips of W as args.W, until all are done, by whichever thread is free.
template <class Multiply>
void for_panels(Compute& compute, const SparseStrips& W, std::span<const float> bias, MatView<float> Y, bool tiles,
                size_t panel_bytes, const Multiply& multiply) {
  const bool strips = DensePanel::by_strips(W, tiles);
  const size_t n = panel_strips(W, compute.threads.n_threads());
  const size_t dense_bytes = DensePanel::bytes(W, n, strips), bytes = dense_bytes + round_up(panel_bytes, 64);
  std::byte* memory = compute.arena.take<std::byte>(bytes * compute.threads.n_threads()).data();
  compute.threads.parallel_for_dynamic((W.n_strips() + n - 1) / n, 1, [&](size_t begin, size_t end, size_t thread) {
    for (size_t i = begin; i < end; ++i) {
      std::byte* own = memory + thread * bytes;
      const size_t row = i * n * kStripRows;
      const WeightView dense = DensePanel::fill(W, i * n, n, strips, own);
      const GemmArgs args{dense, bias.empty() ? nullptr : bias.data() + row,
                          MatView<float>(Y.data + row, Y.rows, dense.rows, Y.row_stride)};
      multiply(args, own + dense_bytes);
    }
  });
}

void multiply_quantised(Compute& compute, MatView<const float> X, const SparseStrips& W, std::span<const float> bias,
                        MatView<float> Y) {
  const QuantizedX x = quantize(compute, X, compute.arena.take<std::byte>(quantized_bytes(X.rows, X.cols)).data());
  if (X.rows < kManyTokens && multiplies_sparse()) {
    compute.threads.parallel_for(W.n_strips(), 1, [&](size_t begin, size_t end) {
      dot_sparse(W, x, bias.empty() ? nullptr : bias.data(), Y, begin, end);
    });
    return;
  }
  for_panels(compute, W, bias, Y, false, gemm_int8_panel_bytes(),
             [&](const GemmArgs& args, std::byte* panel) { gemm_int8(args, x, 0, args.W.rows, panel); });
}

void multiply_floats(Compute& compute, MatView<const float> X, const SparseStrips& W, std::span<const float> bias,
                     MatView<float> Y, TokenBits bits) {
  if ((X.rows < kManyTokensOfFloats || bits == TokenBits::kAsAlone) && multiplies_sparse()) {
    compute.threads.parallel_for(W.n_strips(), 1, [&](size_t begin, size_t end) {
      dot_halves(W, X, bias.empty() ? nullptr : bias.data(), Y, begin, end);
    });
    return;
  }
  auto* packed = compute.arena.take<float>(gemm_packed_floats(X.rows, X.cols)).data();
  compute.threads.parallel_for(gemm_n_tiles(X.rows), 1,
                               [&](size_t begin, size_t end) { gemm_pack(X, begin, end, packed); });
  for_panels(compute, W, bias, Y, false, gemm_float_panel_bytes(),
             [&](const GemmArgs& args, std::byte* panel) { gemm_float(args, packed, 0, args.W.rows, panel); });
}

void multiply_tiles(Compute& compute, MatView<const float> X, const SparseStrips& W, std::span<const float> bias,
                    MatView<float> Y) {
  TileX x{nullptr, X.rows, X.cols, tile_parts(W.dtype, compute.precision)};
  auto* packed = compute.arena.take<uint16_t>(x.bytes() / sizeof(uint16_t)).data();
  compute.threads.parallel_for(x.n_tiles(), 1,
                               [&](size_t begin, size_t end) { pack_tile_x(X, x, begin, end, packed); });
  x.data = packed;
  for_panels(compute, W, bias, Y, true, tile_panel_bytes(X.rows),
             [&](const GemmArgs& args, std::byte* panel) { gemm_tiles(args, x, 0, args.W.rows, panel); });
}

}  // namespace

void sparse_matmul(Compute& compute, MatView<const float> X, const SparseStrips& W, std::span<const float> bias,
                   MatView<float> Y, TokenBits bits) {
  HUNCH_CHECK(W.cols == X.cols && Y.rows == X.rows && Y.cols == W.rows && (bias.empty() || bias.size() == W.rows),
              "W [{}, {}], X [{}, {}], Y [{}, {}], bias of {}", W.rows, W.cols, X.rows, X.cols, Y.rows, Y.cols,
              bias.size());
  if (X.rows == 0) return;
  const Arena::Scope scope(compute.arena);
  compute.meter.read_weights(W.bytes());
  if (X.rows >= kManyTokens && bits != TokenBits::kAsAlone && suits_tiles(W.dtype, compute.precision)) {
    multiply_tiles(compute, X, W, bias, Y);
  } else if (is_plain(W.dtype)) {
    multiply_floats(compute, X, W, bias, Y, bits);
  } else {
    multiply_quantised(compute, X, W, bias, Y);
  }
}

}  // namespace hunch
