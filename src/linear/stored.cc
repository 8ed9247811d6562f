#include "linear/stored.h"

#include <algorithm>

#include "base/error.h"
#include "base/union.h"
#include "formats/format.h"
#include "kernels/matmul.h"
#include "linear/chosen_rows.h"
#include "linear/kept_inputs.h"
#include "linear/layouts.h"
#include "linear/masked.h"
#include "linear/packed.h"
#include "linear/segments.h"
#include "linear/together.h"
#include "linear/values.h"

namespace hunch {
namespace {

size_t width(const WeightView& rows, const WeightView& by_input) { return rows ? rows.cols : by_input.rows; }
size_t height(const WeightView& rows, const WeightView& by_input) { return rows ? rows.rows : by_input.cols; }

// each(first, n, rows) for stretches of tokens of equal traits whose wanted rows have the same name.
template <class Each>
void for_each_name(Tokens tokens, RowSet rows, const Each& each) {
  for_each_segment(tokens, [&](size_t begin, size_t n) {
    for (size_t first = begin, end = begin; first < begin + n; first = end) {
      for (end = first + 1; end < begin + n && rows.own[end].name() == rows.own[first].name();) ++end;
      each(first, end - first, rows.subset(first, end - first));
    }
  });
}

// The way to read them, of tokens of equal traits; where they are several `any` becomes their union.
ChosenRows choose(Compute& compute, const CostTable& costs, RowProduct product, const WeightView& W, Tokens tokens,
                  RowSet rows, Rows& any) {
  if (tokens.size() == 1) return {rows.own, &rows.own[0], RowPath::kOwn};
  select_union(rows.own, any);
  const RowPath path = tokens[0].as_alone ? RowPath::kOwn
                       : any.is_all()     ? RowPath::kAll
                                          : fastest(costs.of(product, W, tokens.size()), rows.own, any);
  compute.meter.note_rows(size_t(path), any.size(), any.n_total());
  return {rows.own, &any, path};
}

}  // namespace

Stored::Stored(LinearId id, WeightView rows, WeightView by_input, std::vector<float> bias, const Layouts& layouts)
    : Linear(id, width(rows, by_input), height(rows, by_input)),
      rows_(rows),
      by_input_(by_input),
      bias_(std::move(bias)),
      layouts_(layouts) {
  HUNCH_CHECK((rows || by_input) && (bias_.empty() || bias_.size() == n_out), "bias of {} for {} rows", bias_.size(),
              n_out);
}

bool Stored::reads_less_by_input(size_t unit) const {
  return by_input_ || (unit > 1 && rows_ && (blocks_ ? blocks_.width == unit : can_cut_columns(rows_.dtype, unit)));
}

void Stored::dot_all(Compute& compute, Tokens tokens, MatView<const float> X, MatView<float> Y) const {
  for_each_segment(tokens, [&](size_t first, size_t n) {
    const MatView<const float> x = X.row_range(first, n);
    if (!rows_)
      return matmul_transposed(compute, x, by_input_, bias_, Y.row_range(first, n), bits_of(tokens.subspan(first, n)));
    const MatmulTask task{rows_, bias_, Y.row_range(first, n)};
    matmul(compute, x, {&task, 1}, bits_of(tokens.subspan(first, n)));
  });
}

void Stored::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  if (out.is_all()) return dot_all(compute, tokens, X, Y);
  for_each_name(tokens, out, [&](size_t first, size_t n, RowSet rows) {
    const Tokens segment = tokens.subspan(first, n);
    const MatView<const float> x = X.row_range(first, n);
    const MatView<float> y = Y.row_range(first, n);
    if (const Packed* packed = layouts_.packed(*this, rows.own[0].name())) {
      packed->dot(compute, segment, x, rows, y);
    } else {
      dot_some(compute, segment, x, rows, y);
    }
  });
}

void Stored::dot_some(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  if (!rows_ || out.unit > 1) {  // groups of rows, as of heads, are asked for by dot_parts() where that spares reading
    dot_all(compute, tokens, X, Y);
    for (size_t t = 0; t < Y.rows; ++t) keep_only(out.own[t], Y.row(t), out.unit);
    return;
  }
  dot_chosen(compute, rows_, bias_,
             choose(compute, layouts_.costs(), RowProduct::kDot, rows_, tokens, out, compute.any_rows), X, Y);
}

void Stored::add_all(Compute& compute, Tokens tokens, MatView<const float> A, MatView<float> Y) const {
  dot_all(compute, tokens, A, Y);
}

void Stored::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  if (in.is_all()) return add_all(compute, tokens, A, Y);
  for_each_name(tokens, in, [&](size_t first, size_t n, RowSet rows) {
    const Tokens segment = tokens.subspan(first, n);
    const MatView<const float> a = A.row_range(first, n);
    const MatView<float> y = Y.row_range(first, n);
    if (const Packed* packed = layouts_.packed(*this, rows.own[0].name())) {
      packed->add(compute, segment, a, rows, y);
    } else if (by_input_ && rows.unit == 1) {
      add_some(compute, segment, a, rows, y);
    } else if (rows_ && rows.unit > 1 && reads_less_by_input(rows.unit)) {
      add_blocks(compute, segment, a, rows, y);
    } else {
      const Arena::Scope scope(compute.arena);
      add_all(compute, segment, kept_inputs(compute, a, rows), y);
    }
  });
}

void Stored::add_some(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  const ChosenRows chosen =
      choose(compute, layouts_.costs(), RowProduct::kAdd, by_input_, tokens, in, compute.any_rows);
  if (chosen.path == RowPath::kAll) return add_all(compute, tokens, kept_inputs(compute, A, in), Y);
  if (chosen.path == RowPath::kOwn && rows_) {  // who has all inputs gets the bits of a product over all
    for (size_t t = 0; t < A.rows; ++t) {
      const RowSet own = in.subset(t, 1);
      if (own.is_all()) {
        add_all(compute, tokens.subspan(t, 1), A.row_range(t, 1), Y.row_range(t, 1));
      } else {
        add_chosen(compute, by_input_, bias_, {own.own, &own.own[0], RowPath::kOwn}, A.row_range(t, 1),
                   Y.row_range(t, 1));
      }
    }
    return;
  }
  add_chosen(compute, by_input_, bias_, chosen, A, Y);
}

// Token by token: their groups differ, and few tokens come here.
void Stored::add_blocks(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  const ColumnBlocks W = blocks_ ? blocks_ : column_blocks(rows_, n_in / in.unit);
  for (size_t t = 0; t < A.rows; ++t) {
    if (in.own[t].is_all()) {
      add_all(compute, tokens.subspan(t, 1), A.row_range(t, 1), Y.row_range(t, 1));
    } else {
      dot_column_blocks(compute, W, in.own[t].ids(), A.row(t), bias_, Y.row(t));
    }
  }
}

void Stored::decode(Compute& compute, MatView<float> W) const {
  if (rows_) return decode_rows(compute, rows_, W);
  std::vector<float> column(n_out);
  for (size_t i = 0; i < n_in; ++i) {
    codec(by_input_.dtype).decode(by_input_.row(i), column.data(), column.size());
    for (size_t r = 0; r < column.size(); ++r) W.row(r)[i] = column[r];
  }
}

}  // namespace hunch
