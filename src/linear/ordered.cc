#include "linear/ordered.h"

#include <algorithm>

#include "base/error.h"
#include "linear/kept_inputs.h"

namespace hunch {

Ordered::Ordered(std::unique_ptr<Linear> base, std::vector<uint32_t> order)
    : Linear(base->id, base->n_in, base->n_out), base_(std::move(base)), order_(std::move(order)) {
  HUNCH_CHECK(order_.size() == n_in, "an order of {} for {} inputs", order_.size(), n_in);
}

void Ordered::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  const MatView<float> ordered(compute.arena.take<float>(X.rows * n_in).data(), X.rows, n_in);
  compute.threads.parallel_for(X.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const std::span<const float> x = X.row(t);
      const std::span<float> to = ordered.row(t);
      for (size_t j = 0; j < to.size(); ++j) to[j] = x[order_[j]];
    }
  });
  base_->dot(compute, tokens, ordered, out, Y);
}

void Ordered::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  dot(compute, tokens, kept_inputs(compute, A, in), {}, Y);
}

void Ordered::decode(Compute& compute, MatView<float> W) const {
  base_->decode(compute, W);
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    std::vector<float> row(n_in);
    for (size_t r = begin; r < end; ++r) {
      std::ranges::copy(W.row(r), row.begin());
      for (size_t j = 0; j < n_in; ++j) W.row(r)[order_[j]] = row[j];
    }
  });
}

}  // namespace hunch
