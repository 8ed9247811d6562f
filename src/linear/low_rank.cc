#include "linear/low_rank.h"

#include "base/error.h"
#include "kernels/matmul.h"
#include "linear/together.h"
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

void LowRank::dot_beside(Compute& compute, Tokens tokens, MatView<const float> X,
                         std::span<const Product> of_this_form) const {
  const Arena::Scope scope(compute.arena);
  const size_t n = of_this_form.size();
  const auto form = [&](size_t i) -> const LowRank& { return static_cast<const LowRank&>(*of_this_form[i].linear); };
  size_t n_hidden = 0;
  bool share_lefts = X.rows == 1;
  for (size_t i = 0; i < n; ++i) {
    n_hidden += form(i).rank();
    share_lefts = share_lefts && form(i).rank() == rank() && form(i).U_->plain(tokens);
  }
  float* next = compute.arena.take<float>(X.rows * n_hidden).data();
  const std::span<Product> rights = compute.arena.take<Product>(n);
  for (size_t i = 0; i < n; ++i) {
    new (&rights[i]) Product{form(i).V_.get(), {next, X.rows, form(i).rank()}};
    next += X.rows * form(i).rank();
  }
  dot_together(compute, tokens, X, rights);
  if (share_lefts) {
    const std::span<TokenTraits> alike = compute.arena.take<TokenTraits>(n);
    std::uninitialized_fill(alike.begin(), alike.end(), tokens[0]);
    const std::span<PartialProduct> parts = compute.arena.take<PartialProduct>(n);
    for (size_t i = 0; i < n; ++i) new (&parts[i]) PartialProduct{form(i).U_.get(), 0, i, of_this_form[i].Y};
    dot_parts(compute, alike, {rights[0].Y.data, n, rank()}, parts);
    return;
  }
  for (size_t i = 0; i < n; ++i) form(i).U_->dot(compute, tokens, rights[i].Y, {}, of_this_form[i].Y);
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
