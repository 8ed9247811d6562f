#include "linear/corrected.h"

#include "base/error.h"
#include "formats/format.h"
#include "kernels/ops.h"
#include "linear/values.h"

namespace hunch {
namespace {

// Y += D; what a token does not want is 0 in both.
void add_all(Compute& compute, MatView<const float> D, MatView<float> Y) {
  compute.threads.parallel_for(Y.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) add(D.row(t), Y.row(t));
  });
}

}  // namespace

Corrected::Corrected(std::unique_ptr<Linear> base, std::unique_ptr<Linear> pair)
    : Linear(base->id, base->n_in, base->n_out), base_(std::move(base)), pair_(std::move(pair)) {
  HUNCH_CHECK(pair_->n_in == n_in && pair_->n_out == n_out && pair_->bias().empty(), "[{}, {}] beside [{}, {}]",
              pair_->n_out, pair_->n_in, n_out, n_in);
}

void Corrected::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  base_->dot(compute, tokens, X, out, Y);
  const Arena::Scope scope(compute.arena);
  const MatView<float> D(compute.arena.take<float>(X.rows * n_out).data(), X.rows, n_out);
  pair_->dot(compute, tokens, X, out, D);
  add_all(compute, D, Y);
}

void Corrected::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  base_->add(compute, tokens, A, in, Y);
  const Arena::Scope scope(compute.arena);
  const MatView<float> D(compute.arena.take<float>(A.rows * n_out).data(), A.rows, n_out);
  pair_->add(compute, tokens, A, in, D);
  add_all(compute, D, Y);
}

void Corrected::decode(Compute& compute, MatView<float> W) const {
  base_->decode(compute, W);
  const Values pair(compute, *pair_);
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    std::vector<float> row(W.cols);
    for (size_t r = begin; r < end; ++r) {
      codec(pair.rows().dtype).decode(pair.rows().row(r), row.data(), row.size());
      hunch::add(row, W.row(r));
    }
  });
}

}  // namespace hunch
