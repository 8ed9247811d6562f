#include "linear/moved_inputs.h"

#include <algorithm>
#include <vector>

#include "linear/kept_inputs.h"

namespace hunch {

MovedInputs::MovedInputs(std::unique_ptr<Linear> base)
    : Linear(base->id, base->n_in, base->n_out), base_(std::move(base)) {}

void MovedInputs::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  const MatView<float> met(compute.arena.take<float>(X.rows * n_in).data(), X.rows, n_in);
  compute.threads.parallel_for(X.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) meet(X.row(t), met.row(t));
  });
  base_->dot(compute, tokens, met, out, Y);
}

void MovedInputs::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  dot(compute, tokens, kept_inputs(compute, A, in), {}, Y);
}

void MovedInputs::decode(Compute& compute, MatView<float> W) const {
  base_->decode(compute, W);
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    std::vector<float> row(n_in);
    for (size_t r = begin; r < end; ++r) {
      std::ranges::copy(W.row(r), row.begin());
      take_back(row, W.row(r));
    }
  });
}

}  // namespace hunch
