// A matrix whose columns stand in another order than the inputs that they meet.
#pragma once
#include <memory>
#include <vector>

#include "linear/linear.h"

namespace hunch {

// The form beneath is given its inputs in the order of its columns, and computes the outputs that a token wants; inputs
// that a token leaves out are multiplied as zeros. Who copies outputs gets the form beneath (factor()).
class Ordered final : public Linear {
 public:
  // base [n_out, n_in], with the bias; column j of it meets input order[j], a permutation.
  Ordered(std::unique_ptr<Linear> base, std::vector<uint32_t> order);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t) const override { return false; }
  size_t bytes() const override { return base_->bytes() + order_.size() * sizeof(uint32_t); }
  std::span<const float> bias() const override { return base_->bias(); }
  void decode(Compute& compute, MatView<float> W) const override;
  std::string_view made_into() const override { return "stored with its inputs in another order"; }
  using Linear::factor;
  const Linear& factor(Axis axis) const override {
    if (axis == Axis::kOut) return base_->factor(axis);
    return *this;
  }
  const Linear& base() const { return *base_; }

 private:
  std::unique_ptr<Linear> base_;
  std::vector<uint32_t> order_;
};

}  // namespace hunch
