// A matrix as the product of two thin ones: W = U V. What a product reads and multiplies falls from n_out n_in to
// rank (n_out + n_in).
#pragma once
#include <memory>

#include "linear/linear.h"

namespace hunch {

// The factors are forms of their own: their formats, copies, costs, bits and bytes are theirs. Rows of outputs that a
// token does not want are left out of U, inputs out of V; the other factor is computed whole.
class LowRank final : public Linear {
 public:
  // U [n_out, rank], with the bias; V [rank, n_in].
  LowRank(LinearId id, std::unique_ptr<Linear> U, std::unique_ptr<Linear> V);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  // Every V in one loop, and U of matrices with one rank too where it is one token's product.
  void dot_beside(Compute& compute, Tokens tokens, MatView<const float> X,
                  std::span<const Product> of_this_form) const override;
  bool reads_less_by_input(size_t unit) const override { return V_->reads_less_by_input(unit); }
  size_t bytes() const override { return U_->bytes() + V_->bytes(); }
  std::span<const float> bias() const override { return U_->bias(); }
  void decode(Compute& compute, MatView<float> W) const override;
  std::string_view made_into() const override { return "of low rank"; }
  using Linear::factor;
  const Linear& factor(Axis axis) const override { return axis == Axis::kOut ? *U_ : *V_; }
  size_t rank() const { return V_->n_out; }

 private:
  std::unique_ptr<Linear> U_, V_;
};

}  // namespace hunch
