#include "linear/packed.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "base/error.h"
#include "kernels/matmul.h"
#include "linear/segments.h"
#include "linear/transpose.h"

namespace hunch {
namespace {

size_t whole_lines(size_t n) { return round_up(n, AlignedBuffer::kAlignBytes); }

// Whole rows, of any format.
WeightView copy_rows(Compute& compute, const WeightView& W, std::span<const uint32_t> ids, std::byte* to) {
  const size_t n = row_bytes(W.dtype, W.cols);
  compute.threads.parallel_for(ids.size(), 8, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) std::memcpy(to + i * n, W.row(ids[i]), n);
  });
  return {W.dtype, to, ids.size(), W.cols, n};
}

template <class T>
void gather(const std::byte* from, std::span<const uint32_t> ids, std::byte* to) {
  for (size_t i = 0; i < ids.size(); ++i) std::memcpy(to + i * sizeof(T), from + ids[i] * sizeof(T), sizeof(T));
}

// Elements of every row, of a plain format.
WeightView copy_columns(Compute& compute, const WeightView& W, std::span<const uint32_t> ids, std::byte* to) {
  const size_t stride = whole_lines(row_bytes(W.dtype, ids.size()));
  compute.threads.parallel_for(W.rows, 4, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      if (info(W.dtype).block_bytes == 4) {
        gather<uint32_t>(W.row(r), ids, to + r * stride);
      } else {
        gather<uint16_t>(W.row(r), ids, to + r * stride);
      }
    }
  });
  return {W.dtype, to, W.rows, ids.size(), stride};
}

}  // namespace

bool Packed::applies(const Linear& base, Axis axis) {
  return axis == Axis::kOut ? bool(base.rows()) : base.by_input() || (base.rows() && is_plain(base.rows().dtype));
}

size_t Packed::bytes_needed(const Linear& base, Axis axis, size_t k) {
  const WeightView W = axis == Axis::kOut ? base.rows() : base.by_input();
  if (W) return whole_lines(k * row_bytes(W.dtype, W.cols));
  return base.n_out * whole_lines(row_bytes(base.rows().dtype, k));
}

Packed::Packed(Compute& compute, const Linear& base, Axis axis, Rows kept)
    : Linear(base.id, base.n_in, base.n_out),
      axis_(axis),
      kept_(std::move(kept)),
      memory_(bytes_needed(base, axis, kept_.size())) {
  HUNCH_CHECK(applies(base, axis) && !kept_.is_all() && kept_.n_total() == (axis == Axis::kOut ? n_out : n_in),
              "{} of {} rows", kept_.size(), kept_.n_total());
  const std::span<const uint32_t> ids = kept_.ids();
  by_input_ = axis == Axis::kIn && base.by_input();
  if (axis == Axis::kOut) {
    W_ = copy_rows(compute, base.rows(), ids, memory_.data());
    if (!base.bias().empty())
      for (const uint32_t id : ids) bias_.push_back(base.bias()[id]);
    return;
  }
  W_ = by_input_ ? copy_rows(compute, base.by_input(), ids, memory_.data())
                 : copy_columns(compute, base.rows(), ids, memory_.data());
  bias_.assign(base.bias().begin(), base.bias().end());
}

void Packed::check(RowSet rows, Axis axis) const {
  HUNCH_CHECK(axis == axis_ && rows.unit == 1 && !rows.own.empty() && rows.own[0].size() == kept_.size(),
              "a copy of {} rows is asked for others", kept_.size());
}

void Packed::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  check(out, Axis::kOut);
  const Arena::Scope scope(compute.arena);
  const MatView<float> y(compute.arena.take<float>(X.rows * kept_.size()).data(), X.rows, kept_.size());
  const MatmulTask task{W_, bias_, y};
  matmul(compute, X, {&task, 1}, bits_of(tokens));
  for (size_t t = 0; t < X.rows; ++t) {
    std::ranges::fill(Y.row(t), 0.0f);
    for (size_t i = 0; i < kept_.size(); ++i) Y.row(t)[kept_.ids()[i]] = y.row(t)[i];
  }
}

void Packed::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  check(in, Axis::kIn);
  const Arena::Scope scope(compute.arena);
  const MatView<float> a(compute.arena.take<float>(A.rows * kept_.size()).data(), A.rows, kept_.size());
  for (size_t t = 0; t < A.rows; ++t)
    for (size_t i = 0; i < kept_.size(); ++i) a.row(t)[i] = A.row(t)[kept_.ids()[i]];
  if (by_input_) return matmul_transposed(compute, a, W_, bias_, Y, bits_of(tokens));
  const MatmulTask task{W_, bias_, Y};
  matmul(compute, a, {&task, 1}, bits_of(tokens));
}

}  // namespace hunch
