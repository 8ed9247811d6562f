#include "linear/layouts.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "base/file.h"
#include "base/memory_info.h"
#include "base/union.h"
#include "formats/format.h"
#include "formats/strip_shape.h"
#include "kernels/strips.h"
#include "linear/transpose.h"

namespace hunch {
namespace {

// Rows on their own cache lines.
size_t turned_stride(DType dtype, size_t n_out) {
  return round_up(row_bytes(dtype, n_out), AlignedBuffer::kAlignBytes);
}

// A block of inputs at a time: decoded from the rows, turned, encoded along the outputs.
void turn_anew(Compute& compute, const WeightView& W, DType dtype, std::byte* out, size_t stride) {
  const Format& from = info(W.dtype);
  const size_t tile = from.block_elems;
  compute.threads.parallel_for(W.cols / tile, 1, [&](size_t begin, size_t end) {
    std::vector<float> decoded(tile), turned(tile * W.rows);
    for (size_t block = begin; block < end; ++block) {
      compute.throw_if_stopped();
      for (size_t r = 0; r < W.rows; ++r) {
        codec(W.dtype).decode(W.row(r) + block * from.block_bytes, decoded.data(), tile);
        for (size_t k = 0; k < tile; ++k) turned[k * W.rows + r] = decoded[k];
      }
      for (size_t k = 0; k < tile; ++k)
        codec(dtype).encode(&turned[k * W.rows], out + (block * tile + k) * stride, W.rows);
    }
  });
}

bool lies_in(Layouts::Maps maps, const WeightView& W) {
  return std::ranges::any_of(maps, [&](auto map) { return W.data >= map.data() && W.data < map.data() + map.size(); });
}

// The stored matrices that these are made of, each once.
std::vector<Stored*> stored_of(std::span<Linear* const> matrices) {
  std::vector<Stored*> all;
  for (Linear* matrix : matrices)
    for (const Axis axis : {Axis::kOut, Axis::kIn})
      if (Stored* stored = matrix->factor(axis).stored(); stored && (all.empty() || all.back() != stored))
        all.push_back(stored);
  return all;
}

}  // namespace

void Layouts::store_by_input(Compute& compute, std::span<Linear* const> matrices, const char* what) {
  std::vector<Stored*> wanted;
  uint64_t bytes = 0;
  for (Linear* matrix : matrices) {
    Stored* stored = matrix->factor(Axis::kIn).stored();
    if (!stored || stored->by_input_ || !is_plain(stored->rows_.dtype)) continue;
    bytes += uint64_t{stored->n_in} * turned_stride(stored->rows_.dtype, stored->n_out);
    wanted.push_back(stored);
  }
  require_memory(bytes, what, "a calibration by griffin (method) needs no copies of the whole model");
  for (Stored* stored : wanted) {
    compute.throw_if_stopped();
    const WeightView& W = stored->rows_;
    const size_t stride = turned_stride(W.dtype, W.rows);
    std::byte* turned = arenas_.emplace_back(W.cols * stride).data();
    transpose_plain(compute, W, turned, stride);
    stored->by_input_ = {W.dtype, turned, W.cols, W.rows, stride};
  }
}

void Layouts::turn(Compute& compute, std::span<const TurnRequest> requests, const char* what) {
  uint64_t bytes = 0;
  for (const auto& [matrix, dtype] : requests) bytes += uint64_t{matrix->n_in} * row_bytes(dtype, matrix->n_out);
  require_memory(bytes, what);
  for (const auto& [matrix, dtype] : requests) {
    compute.throw_if_stopped();
    const WeightView W = matrix->rows_;
    const size_t stride = row_bytes(dtype, W.rows);
    std::byte* turned = arenas_.emplace_back(W.cols * stride).data();
    if (dtype == W.dtype && is_plain(dtype)) {
      transpose_plain(compute, W, turned, stride);
    } else {
      turn_anew(compute, W, dtype, turned, stride);
    }
    matrix->by_input_ = {dtype, turned, W.cols, W.rows, stride};
    matrix->rows_ = {};
  }
}

void Layouts::store_by_group(Compute& compute, std::span<Linear* const> matrices, size_t unit) {
  for (Linear* matrix : matrices) {
    Stored* stored = matrix->factor(Axis::kIn).stored();
    if (!stored || stored->blocks_ || !stored->rows_ || !can_cut_columns(stored->rows_.dtype, unit)) continue;
    const ColumnBlocks cut = column_blocks(stored->rows_, stored->n_in / unit);
    const uint64_t available = available_memory_bytes();
    if (available && 4 * uint64_t{block_major_bytes(cut)} > available) return;
    stored->blocks_ = to_block_major(compute, cut, arenas_.emplace_back(block_major_bytes(cut)).data());
  }
}

void Layouts::interleave(Compute& compute, std::span<Linear* const> matrices, Maps maps) {
  if (!multiplies_strips()) return;
  const auto n_strips = [](const WeightView& W) { return (W.rows + kStripRows - 1) / kStripRows; };
  std::vector<Stored*> wanted;
  uint64_t bytes = 0;
  for (Stored* stored : stored_of(matrices)) {
    const WeightView& W = stored->rows_;
    if (!W || W.strips || is_plain(W.dtype) || info(W.dtype).in_memory_only) continue;  // those are copies already
    wanted.push_back(stored);
    bytes += n_strips(W) * uint64_t{strip_bytes(W.dtype, W.cols)};
  }
  std::byte* out = spare_memory(bytes);
  if (!out) return;
  for (Stored* stored : wanted) {
    compute.throw_if_stopped();
    WeightView& W = stored->rows_;
    const size_t stride = strip_bytes(W.dtype, W.cols);
    compute.threads.parallel_for_dynamic(n_strips(W), 8,
                                         [&](size_t begin, size_t end, size_t) { pack_strips(W, begin, end, out); });
    W.strips = out;
    W.strip_stride_bytes = stride;
    out += n_strips(W) * stride;
    if (lies_in(maps, W)) MappedFile::release({W.data, W.bytes()});
  }
}

void Layouts::hold(Compute& compute, std::span<Linear* const> matrices, Maps maps) {
  std::vector<WeightView*> wanted;
  uint64_t bytes = 0;
  for (Stored* stored : stored_of(matrices))
    for (WeightView* W : {&stored->rows_, &stored->by_input_})
      if (*W && lies_in(maps, *W)) {
        wanted.push_back(W);
        bytes += W->bytes();
      }
  std::byte* out = spare_memory(bytes);
  if (!out) return;
  for (WeightView* W : wanted) {
    compute.throw_if_stopped();
    const size_t stride = row_bytes(W->dtype, W->cols);  // of a part of the columns, less than in the file
    compute.threads.parallel_for(W->rows, 16, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) std::memcpy(out + r * stride, W->row(r), stride);
    });
    MappedFile::release({W->data, W->bytes()});
    W->data = out;
    W->row_stride_bytes = stride;
    out += W->rows * stride;
  }
}

std::byte* Layouts::spare_memory(uint64_t bytes) {
  const uint64_t available = available_memory_bytes();
  if (bytes == 0 || (available && bytes + bytes / 8 > available)) return nullptr;
  return arenas_.emplace_back(bytes).data();
}

bool Layouts::own_is_faster(Compute& compute, const Linear& matrix, RowSet out) const {
  const size_t n_tokens = out.own.size();
  if (n_tokens == 1) return true;
  select_union(out.own, compute.any_rows);
  if (compute.any_rows.is_all()) return false;
  const RowCosts costs = costs_.of(RowProduct::kDot, matrix.rows(), n_tokens);
  const size_t n_own = out.count(n_tokens, matrix.n_out), n_any = compute.any_rows.size() * out.unit;
  return costs.seconds(RowPath::kOwn, n_tokens, n_own, n_any) < costs.seconds(RowPath::kAll, n_tokens, n_own, n_any);
}

void Layouts::pack(Compute& compute, uint64_t name, std::span<const PackRequest> requests) {
  unpack(name);
  uint64_t bytes = 0;
  for (const PackRequest& r : requests)
    if (const Linear& matrix = r.matrix->factor(r.axis); Packed::applies(matrix, r.axis))
      bytes += Packed::bytes_needed(matrix, r.axis, r.kept->size());
  require_memory(bytes, "the neurons that the prompt chose", "a lower density (density) takes less");
  for (const PackRequest& r : requests)
    if (const Linear& matrix = r.matrix->factor(r.axis); Packed::applies(matrix, r.axis))
      packed_[{name, &matrix}] = std::make_unique<Packed>(compute, matrix, r.axis, *r.kept);
}

void Layouts::unpack(uint64_t name) {
  std::erase_if(packed_, [&](const auto& entry) { return entry.first.first == name; });
}

size_t Layouts::packed_bytes() const {
  size_t n = 0;
  for (const auto& [key, packed] : packed_) n += packed->bytes();
  return n;
}

}  // namespace hunch
