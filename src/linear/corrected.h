// A rounded matrix and, beside it, in low rank what rounding lost: W = Q + U V.
#pragma once
#include <memory>

#include "linear/linear.h"

namespace hunch {

// Both are forms of their own, and what they read adds up: of the rounded one what a token wants, of the pair as
// LowRank. Who copies or turns a matrix gets the rounded one (factor()), whose rows and inputs are the whole's.
class Corrected final : public Linear {
 public:
  // base [n_out, n_in], with the bias; pair of the same shape, without.
  Corrected(std::unique_ptr<Linear> base, std::unique_ptr<Linear> pair);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t unit) const override { return base_->reads_less_by_input(unit); }
  size_t bytes() const override { return base_->bytes() + pair_->bytes(); }
  std::span<const float> bias() const override { return base_->bias(); }
  void decode(Compute& compute, MatView<float> W) const override;
  std::string_view made_into() const override { return "rounded and corrected"; }
  using Linear::factor;
  const Linear& factor(Axis axis) const override { return base_->factor(axis); }
  const Linear& base() const { return *base_; }

 private:
  std::unique_ptr<Linear> base_, pair_;
};

}  // namespace hunch
