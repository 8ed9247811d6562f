#include "linear/on_demand.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/union.h"
#include "formats/format.h"
#include "formats/strip_shape.h"
#include "kernels/matmul.h"
#include "kernels/strips.h"
#include "linear/chosen_rows.h"
#include "linear/masked.h"
#include "linear/segments.h"
#include "linear/values.h"

namespace hunch {
namespace {

size_t n_strips(const WeightView& W) { return (W.rows + kStripRows - 1) / kStripRows; }

}  // namespace

OnDemand::OnDemand(LinearId id, const Place& place, std::vector<float> bias)
    : Linear(id, place.by_input ? place.shape.rows : place.shape.cols,
             place.by_input ? place.shape.cols : place.shape.rows),
      place_(place),
      bias_(std::move(bias)) {
  HUNCH_CHECK(bias_.empty() || bias_.size() == n_out, "bias of {} for {} rows", bias_.size(), n_out);
}

void OnDemand::interleave() {
  const WeightView& W = place_.shape;
  if (has_strips_ || place_.by_input || !multiplies_strips() || is_plain(W.dtype) || info(W.dtype).in_memory_only)
    return;
  const std::lock_guard lock(place_.disk->mutex());
  place_.disk->set_packed(place_.piece, n_strips(W) * strip_bytes(W.dtype, W.cols));
  has_strips_ = true;
}

WeightView OnDemand::whole_rows() const {
  WeightView W = place_.shape;
  W.data = place_.disk->whole(has_strips_ ? place_.rows : place_.piece);
  return W;
}

WeightView OnDemand::whole_matrix(Compute& compute) const {
  if (!has_strips_) return whole_rows();
  WeightView W = place_.shape;
  W.strips = place_.disk->whole(place_.piece, [&](const std::byte* rows, std::byte* strips) {
    WeightView from = place_.shape;
    from.data = rows;
    compute.threads.parallel_for_dynamic(
        n_strips(from), 8, [&](size_t begin, size_t end, size_t) { pack_strips(from, begin, end, strips); });
  });
  W.strip_stride_bytes = strip_bytes(W.dtype, W.cols);
  W.data = W.strips;  // there is a matrix; nobody looks at its rows
  return W;
}

void OnDemand::all(Compute& compute, Tokens tokens, MatView<const float> X, MatView<float> Y) const {
  const std::lock_guard lock(place_.disk->mutex());
  const WeightView W = whole_matrix(compute);
  for_each_segment(tokens, [&](size_t first, size_t n) {
    const MatView<const float> x = X.row_range(first, n);
    const TokenBits bits = bits_of(tokens.subspan(first, n));
    if (place_.by_input) return matmul_transposed(compute, x, W, bias_, Y.row_range(first, n), bits);
    const MatmulTask task{W, bias_, Y.row_range(first, n)};
    matmul(compute, x, {&task, 1}, bits);
  });
}

// product(W, rows, first token, number of tokens), where rows say which of W's are wanted and where they lie.
template <class Product>
void OnDemand::some(Compute& compute, Tokens tokens, RowSet rows, const Product& product) const {
  for_each_segment(tokens, [&](size_t first, size_t n) {
    const Arena::Scope scope(compute.arena);
    const RowSet own = rows.subset(first, n);
    const Rows* any = &own.own[0];
    if (n > 1) {
      select_union(own.own, compute.any_rows);
      any = &compute.any_rows;
    }
    const RowPath path = n == 1 || tokens[first].as_alone ? RowPath::kOwn
                         : any->is_all()                  ? RowPath::kAll
                                                          : RowPath::kUnion;
    const std::lock_guard lock(place_.disk->mutex());
    if (!any->is_all() && place_.neurons != kNone && place_.disk->fetch(place_.neurons, place_.part, any->ids())) {
      const NeuronSlots::Places at = place_.disk->places(place_.neurons, place_.part);
      WeightView W = place_.shape;
      W.data = at.data;
      W.rows = at.n_slots;
      W.row_stride_bytes = at.stride;
      return product(W, ChosenRows{own.own, any, path, at.slot_of}, first, n);
    }
    product(whole_rows(), ChosenRows{own.own, any, path}, first, n);
  });
}

void OnDemand::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  if (out.is_all()) return all(compute, tokens, X, Y);
  if (place_.by_input || out.unit > 1) {
    all(compute, tokens, X, Y);
    for (size_t t = 0; t < Y.rows; ++t) keep_only(out.own[t], Y.row(t), out.unit);
    return;
  }
  some(compute, tokens, out, [&](const WeightView& W, const ChosenRows& rows, size_t first, size_t n) {
    dot_chosen(compute, W, bias_, rows, X.row_range(first, n), Y.row_range(first, n));
  });
}

void OnDemand::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  if (in.is_all()) return all(compute, tokens, A, Y);
  const Arena::Scope scope(compute.arena);
  if (!reads_less_by_input(in.unit)) return all(compute, tokens, masked(compute, A, in), Y);
  some(compute, tokens, in, [&](const WeightView& W, const ChosenRows& rows, size_t first, size_t n) {
    const MatView<const float> a = A.row_range(first, n);
    add_chosen(compute, W, bias_, rows, rows.path == RowPath::kAll ? masked(compute, a, in.subset(first, n)) : a,
               Y.row_range(first, n));
  });
}

void OnDemand::decode(Compute& compute, MatView<float> W) const {
  const std::lock_guard lock(place_.disk->mutex());
  if (!place_.by_input) return decode_rows(compute, whole_rows(), W);
  AlignedBuffer memory(n_in * n_out * sizeof(float));
  const MatView<float> turned(memory.as<float>().data(), n_in, n_out);
  decode_rows(compute, whole_rows(), turned);
  compute.threads.parallel_for(n_out, 16, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r)
      for (size_t c = 0; c < n_in; ++c) W.row(r)[c] = turned.row(c)[r];
  });
}

}  // namespace hunch
