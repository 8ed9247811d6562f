#include "linear/low_rank.h"

#include "base/error.h"
#include "kernels/matmul.h"
#include "linear/values.h"

namespace hunch {

LowRank::LowRank(LinearId id, std::unique_ptr<Linear> U, std::unique_ptr<Linear> V)
    : Linear(id, V->n_in, U->n_out), U_(std::move(U)), V_(std::move(V)) {
  HUNCH_CHECK(U_->n_in == V_->n_out && V_->bias().empty(), "[{}, {}] times [{}, {}]", U_->n_out, U_->n_in, V_->n_out,
              V_->n_in);
}

void LowRank::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  const MatView<float> hidden(compute.arena.take<float>(X.rows * rank()).data(), X.rows, rank());
  V_->dot(compute, tokens, X, {}, hidden);
  U_->dot(compute, tokens, hidden, out, Y);
}

void LowRank::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  const MatView<float> hidden(compute.arena.take<float>(A.rows * rank()).data(), A.rows, rank());
  V_->add(compute, tokens, A, in, hidden);
  U_->dot(compute, tokens, hidden, {}, Y);
}

// In f32, whatever many tokens are multiplied in.
void LowRank::decode(Compute& compute, MatView<float> W) const {
  const Values u(compute, *U_), v(compute, *V_);
  std::vector<float> left(n_out * rank());
  decode_rows(compute, u.rows(), {left.data(), n_out, rank()});
  matmul_transposed(compute, {left.data(), n_out, rank()}, v.rows(), {}, W, TokenBits::kAsAlone);
}

}  // namespace hunch
