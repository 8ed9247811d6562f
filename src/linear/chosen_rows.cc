#include "linear/chosen_rows.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "formats/format.h"
#include "kernels/gather.h"
#include "kernels/matmul.h"

namespace hunch {
namespace {

void check(const ChosenRows& rows, const WeightView& W, size_t n_tokens) {
  HUNCH_CHECK(rows.own.size() == n_tokens && rows.any && (rows.place || rows.any->n_total() == W.rows),
              "rows of {} tokens for {}", rows.own.size(), n_tokens);
  HUNCH_CHECK(!rows.place || (rows.path != RowPath::kAll && !rows.any->is_all()), "all rows have no places");
  HUNCH_CHECK(rows.path != RowPath::kUnion || !rows.any->is_all(), "all rows are not gathered");
}

template <class Each>
void for_each_token(Compute& compute, size_t n_tokens, const Each& each) {
  compute.threads.parallel_for(n_tokens, 1, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) each(t);
  });
}

// [n], for each of the ids its place among them; the others mean nothing. Until the end of the caller's scope.
std::span<const uint32_t> positions(Compute& compute, size_t n, std::span<const uint32_t> ids) {
  const std::span<uint32_t> position = compute.arena.take<uint32_t>(n);
  for (size_t k = 0; k < ids.size(); ++k) position[ids[k]] = uint32_t(k);
  return position;
}

// Where these rows lie. Until the end of the caller's scope.
std::span<const uint32_t> places(Compute& compute, const ChosenRows& rows, std::span<const uint32_t> ids) {
  if (!rows.place) return ids;
  const std::span<uint32_t> at = compute.arena.take<uint32_t>(ids.size());
  for (size_t k = 0; k < ids.size(); ++k) at[k] = rows.place[ids[k]];
  return at;
}

// A union of rows that so many tokens want is copied together first: the product over all rows is made for many.
constexpr size_t kCopyFrom = 32;

WeightView copied_together(Compute& compute, const WeightView& W, std::span<const uint32_t> at) {
  const size_t bytes = row_bytes(W.dtype, W.cols);
  const std::span<std::byte> copy = compute.arena.take<std::byte>(at.size() * bytes);
  compute.threads.parallel_for(at.size(), 16, [&](size_t begin, size_t end) {
    for (size_t k = begin; k < end; ++k) std::memcpy(copy.data() + k * bytes, W.row(at[k]), bytes);
  });
  return {W.dtype, copy.data(), at.size(), W.cols, bytes};
}

}  // namespace

const char* name_of(RowPath path) {
  switch (path) {
    case RowPath::kOwn: return "own";
    case RowPath::kUnion: return "union";
    case RowPath::kAll: return "all";
  }
  return "?";
}

void dot_chosen(Compute& compute, const WeightView& W, std::span<const float> bias, const ChosenRows& rows,
                MatView<const float> X, MatView<float> Y) {
  check(rows, W, X.rows);
  const Arena::Scope scope(compute.arena);
  if (rows.path == RowPath::kAll) {
    const MatmulTask task{W, bias, Y};
    matmul(compute, X, {&task, 1});
    for_each_token(compute, X.rows, [&](size_t t) { keep_only(rows.own[t], Y.row(t)); });
    return;
  }
  // The products in the order of a list, to where they belong.
  const auto spread = [&](size_t t, const float* from, const uint32_t* position) {
    const std::span<float> y = Y.row(t);
    std::ranges::fill(y, 0.0f);
    const std::span<const uint32_t> ids = rows.own[t].ids();
    for (size_t k = 0; k < ids.size(); ++k)
      y[ids[k]] = from[position ? position[ids[k]] : k] + (bias.empty() ? 0.0f : bias[ids[k]]);
  };
  if (rows.path == RowPath::kOwn) {
    float* dots = compute.arena.take<float>(rows.any->n_total()).data();
    for (size_t t = 0; t < X.rows; ++t) {
      if (rows.own[t].is_all()) {
        const MatmulTask task{W, bias, Y.row_range(t, 1)};
        matmul(compute, X.row_range(t, 1), {&task, 1});
        continue;
      }
      const std::span<const uint32_t> ids = rows.own[t].ids();
      gather_dot(compute, W, places(compute, rows, ids), X.row(t), {dots, ids.size()});
      spread(t, dots, nullptr);
    }
    return;
  }
  const std::span<const uint32_t> ids = rows.any->ids();
  const MatView<float> dots(compute.arena.take<float>(X.rows * ids.size()).data(), X.rows, ids.size());
  if (const std::span<const uint32_t> at = places(compute, rows, ids); X.rows < kCopyFrom) {
    gather_dot(compute, W, at, X, dots);
  } else {
    const MatmulTask task{copied_together(compute, W, at), {}, dots};
    matmul(compute, X, {&task, 1});
  }
  const std::span<const uint32_t> position = positions(compute, rows.any->n_total(), ids);
  for_each_token(compute, X.rows, [&](size_t t) { spread(t, dots.data + t * dots.row_stride, position.data()); });
}

void add_chosen(Compute& compute, const WeightView& W, std::span<const float> bias, const ChosenRows& rows,
                MatView<const float> A, MatView<float> Y) {
  check(rows, W, A.rows);
  const Arena::Scope scope(compute.arena);
  if (rows.path == RowPath::kAll) return matmul_transposed(compute, A, W, bias, Y);
  for (size_t t = 0; t < Y.rows; ++t) {
    if (bias.empty()) {
      std::ranges::fill(Y.row(t), 0.0f);
    } else {
      std::ranges::copy(bias, Y.row(t).begin());
    }
  }
  if (rows.path == RowPath::kOwn) {
    float* factors = compute.arena.take<float>(rows.any->n_total()).data();
    for (size_t t = 0; t < A.rows; ++t) {
      if (rows.own[t].is_all()) {
        matmul_transposed(compute, A.row_range(t, 1), W, bias, Y.row_range(t, 1));
        continue;
      }
      const std::span<const uint32_t> ids = rows.own[t].ids();
      for (size_t k = 0; k < ids.size(); ++k) factors[k] = A.row(t)[ids[k]];
      gather_axpy(compute, W, places(compute, rows, ids), {factors, ids.size()}, Y.row(t));
    }
    return;
  }
  const std::span<const uint32_t> ids = rows.any->ids();
  const MatView<float> factors(compute.arena.take<float>(A.rows * ids.size()).data(), A.rows, ids.size());
  const std::span<const uint32_t> position = positions(compute, rows.any->n_total(), ids);
  for_each_token(compute, A.rows, [&](size_t t) {
    std::ranges::fill(factors.row(t), 0.0f);
    for (const uint32_t id : rows.own[t].ids()) factors.row(t)[position[id]] = A.row(t)[id];
  });
  const std::span<const uint32_t> at = places(compute, rows, ids);
  if (A.rows < kCopyFrom) return gather_axpy(compute, W, at, factors, Y);
  matmul_transposed(compute, factors, copied_together(compute, W, at), bias, Y);
}

}  // namespace hunch
