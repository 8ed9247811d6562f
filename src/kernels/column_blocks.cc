#include "kernels/column_blocks.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "base/error.h"
#include "hwy/cache_control.h"
#include "kernels/column_dot.h"
#include "kernels/gemv.h"
#include "kernels/quantize.h"

namespace hunch {
namespace {

// Selected parts of rows that a thread brings together at a time: what stays in L1.
constexpr size_t kTileBytes = 16384;
constexpr size_t kRowGroup = 8;  // what the products multiply side by side
// Blocks of a copy begin this much apart from multiples of large powers of two, so that reading many of them side by
// side does not crowd a few sets of the cache.
constexpr size_t kApartBytes = 320;

size_t copy_stride(const ColumnBlocks& W) { return round_up(W.block_bytes(), 64) + kApartBytes; }

// Copies the parts of rows [begin, begin + n) side by side and asks for those of the next n rows.
template <class Copy>
void bring_together(const ColumnBlocks& W, std::span<const uint32_t> blocks, size_t begin, size_t n, size_t part_bytes,
                    std::byte* to, const Copy& copy) {
  const size_t to_stride = blocks.size() * part_bytes, n_next = std::min(n, W.rows - begin - n);
  for (size_t k = 0; k < blocks.size(); ++k) {
    const std::byte* from = W.at(begin, blocks[k]);
    std::byte* at = to + k * part_bytes;
    for (size_t r = 0; r < n; ++r, from += W.row_stride_bytes, at += to_stride) {
      if (r < n_next)
        for (size_t line = 0; line < part_bytes; line += 64) hwy::Prefetch(from + n * W.row_stride_bytes + line);
      copy(at, from);
    }
  }
}

// A copy whose length is known when it is compiled is a few instructions.
void bring_together(const ColumnBlocks& W, std::span<const uint32_t> blocks, size_t begin, size_t n, size_t part_bytes,
                    std::byte* to) {
  const auto fixed = [&]<size_t N>() {
    bring_together(W, blocks, begin, n, N, to, [](std::byte* a, const std::byte* b) { std::memcpy(a, b, N); });
  };
  switch (part_bytes) {  // heads of 64 and 128 in q4_0 and q8_0
    case 36: return fixed.operator()<36>();
    case 68: return fixed.operator()<68>();
    case 72: return fixed.operator()<72>();
    case 136: return fixed.operator()<136>();
    default:
      bring_together(W, blocks, begin, n, part_bytes, to,
                     [&](std::byte* a, const std::byte* b) { std::memcpy(a, b, part_bytes); });
  }
}

}  // namespace

bool can_cut_columns(DType dtype, size_t width) {
  return info(dtype).computes() && width > 0 && width % info(dtype).block_elems == 0;
}

ColumnBlocks column_blocks(const WeightView& W, size_t n_blocks) {
  HUNCH_CHECK(n_blocks && W.cols % n_blocks == 0 && can_cut_columns(W.dtype, W.cols / n_blocks),
              "{} columns of {} in {} blocks", W.cols, name_of(W.dtype), n_blocks);
  const size_t width = W.cols / n_blocks;
  return {W.dtype, W.data, W.rows, n_blocks, width, W.row_stride_bytes, row_bytes(W.dtype, width)};
}

size_t block_major_bytes(const ColumnBlocks& W) { return W.n_blocks * copy_stride(W); }

ColumnBlocks to_block_major(Compute& compute, const ColumnBlocks& W, std::byte* memory) {
  ColumnBlocks to = W;
  to.data = memory;
  to.row_stride_bytes = row_bytes(W.dtype, W.width);
  to.block_stride_bytes = copy_stride(W);
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r)
      for (size_t b = 0; b < W.n_blocks; ++b)
        std::memcpy(memory + r * to.row_stride_bytes + b * to.block_stride_bytes, W.at(r, b), to.row_stride_bytes);
  });
  return to;
}

namespace {

// x's selected blocks side by side, each `repeats` times, in the form that the products with quantised weights read.
struct Together {
  MatView<const float> x;
  QuantizedX quantised;
  std::byte* packed = nullptr;
  std::byte* rest = nullptr;  // memory after it
};

Together together(Compute& compute, const ColumnBlocks& W, std::span<const uint32_t> blocks, std::span<const float> x,
                  size_t repeats, size_t rest_bytes) {
  const bool floats = multiplies_floats(W.dtype);
  const size_t n = blocks.size() * repeats * W.width;
  QuantizedX shape;
  shape.n_tokens = 1;
  shape.n_padded = round_up(n, QuantizedX::kPad);
  const size_t x_bytes = round_up(n * sizeof(float), 64), quantised = floats ? 0 : round_up(quantized_bytes(1, n), 64);
  const size_t packed_bytes = floats ? 0 : round_up(gemv_int8_packed_bytes(W.dtype, shape), 64);
  std::byte* memory = compute.arena.take<std::byte>(x_bytes + quantised + packed_bytes + rest_bytes).data();
  float* to = reinterpret_cast<float*>(memory);
  Together t{{to, 1, n}, {}, nullptr, memory + x_bytes + quantised + packed_bytes};
  for (const uint32_t b : blocks)
    for (size_t i = 0; i < repeats; ++i, to += W.width) std::memcpy(to, &x[b * W.width], W.width * sizeof(float));
  if (floats) return t;
  t.quantised = quantize(compute, t.x, memory + x_bytes);
  if (packed_bytes) gemv_int8_pack(W.dtype, t.quantised, t.packed = memory + x_bytes + quantised);
  return t;
}

// Where no kernel reads the blocks as they lie: their parts are copied side by side, a tile of rows at a time.
void dot_copied(Compute& compute, const ColumnBlocks& W, std::span<const uint32_t> blocks, std::span<const float> x,
                std::span<const float> bias, std::span<float> y) {
  const size_t n_cols = blocks.size() * W.width, part_bytes = row_bytes(W.dtype, W.width),
               tile_row_bytes = blocks.size() * part_bytes;
  const size_t tile_rows =
      std::min(std::max(kTileBytes / tile_row_bytes / kRowGroup, size_t{1}) * kRowGroup, round_up(W.rows, kRowGroup));
  const size_t tile_bytes = round_up(tile_rows * tile_row_bytes + AlignedBuffer::kPadBytes, 64);
  const Together in = together(compute, W, blocks, x, 1, compute.threads.n_threads() * tile_bytes);
  const size_t n_groups = (W.rows + kRowGroup - 1) / kRowGroup;
  compute.threads.parallel_for(n_groups, 1, [&](size_t group_begin, size_t group_end, size_t thread) {
    std::byte* tile = in.rest + thread * tile_bytes;
    const size_t end = std::min(group_end * kRowGroup, W.rows);
    for (size_t begin = group_begin * kRowGroup; begin < end; begin += tile_rows) {
      const size_t n = std::min(tile_rows, end - begin);
      bring_together(W, blocks, begin, n, part_bytes, tile);
      const GemvArgs args{
          {W.dtype, tile, n, n_cols, tile_row_bytes}, nullptr, bias.empty() ? nullptr : &bias[begin], &y[begin], 0};
      gemv_int8(args, in.quantised, in.packed, 0, n);
    }
  });
}

void dot_in_place(Compute& compute, const ColumnBlocks& W, std::span<const uint32_t> blocks, std::span<const float> x,
                  std::span<const float> bias, std::span<float> y) {
  ColumnDotArgs args{W, blocks, x.data(), nullptr, bias.empty() ? nullptr : bias.data(), y.data()};
  if (!multiplies_floats(W.dtype)) args.packed = together(compute, W, blocks, x, column_dot_repeats(W), 0).packed;
  compute.threads.parallel_for((W.rows + kColumnDotRows - 1) / kColumnDotRows, 1, [&](size_t begin, size_t end) {
    column_dot(args, begin * kColumnDotRows, std::min(end * kColumnDotRows, W.rows));
  });
}

}  // namespace

void dot_column_blocks(Compute& compute, const ColumnBlocks& W, std::span<const uint32_t> blocks,
                       std::span<const float> x, std::span<const float> bias, std::span<float> y) {
  HUNCH_CHECK(x.size() == W.n_blocks * W.width && y.size() == W.rows && (bias.empty() || bias.size() == W.rows),
              "x of {}, y of {}, bias of {} for [{}, {} x {}]", x.size(), y.size(), bias.size(), W.rows, W.n_blocks,
              W.width);
  HUNCH_CHECK(can_cut_columns(W.dtype, W.width));
  const Arena::Scope scope(compute.arena);
  compute.meter.read_weights(blocks.size() * W.block_bytes());
  if (blocks.empty()) {
    if (bias.empty()) {
      std::ranges::fill(y, 0.0f);
    } else {
      std::ranges::copy(bias, y.begin());
    }
  } else if (column_dot_applies(W)) {
    dot_in_place(compute, W, blocks, x, bias, y);
  } else {
    dot_copied(compute, W, blocks, x, bias, y);
  }
}

}  // namespace hunch
