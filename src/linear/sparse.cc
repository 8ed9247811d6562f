#include "linear/sparse.h"

#include <algorithm>

#include "base/error.h"
#include "linear/kept_inputs.h"
#include "linear/segments.h"

namespace hunch {

Sparse::Sparse(LinearId id, Compute& compute, const SparseRows& W, std::vector<float> bias)
    : Linear(id, W.cols, W.rows), strips_(compute, W), bias_(std::move(bias)) {
  HUNCH_CHECK(bias_.empty() || bias_.size() == n_out, "bias of {} for {} rows", bias_.size(), n_out);
}

void Sparse::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  for_each_segment(tokens, [&](size_t first, size_t n) {
    sparse_matmul(compute, X.row_range(first, n), strips_.view(), bias_, Y.row_range(first, n),
                  bits_of(tokens.subspan(first, n)));
  });
  if (out.is_all()) return;
  for (size_t t = 0; t < Y.rows; ++t) keep_only(out.own[t], Y.row(t), out.unit);
}

void Sparse::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  dot(compute, tokens, kept_inputs(compute, A, in), {}, Y);
}

void Sparse::decode(Compute& compute, MatView<float> out) const {
  compute.threads.parallel_for(strips_.view().n_strips(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i)
      ref::decode_strip(strips_.view(), i, out.row_range(16 * i, std::min<size_t>(16, n_out - 16 * i)));
  });
}

}  // namespace hunch
