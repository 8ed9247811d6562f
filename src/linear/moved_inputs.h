// A matrix whose columns meet other numbers than the inputs: these in another order, or rotated.
#pragma once
#include <memory>
#include <span>

#include "linear/linear.h"

namespace hunch {

// The form beneath is given what its columns meet, and computes the outputs that a token wants; inputs that a token
// leaves out are multiplied as zeros. Who copies outputs gets the form beneath (factor()).
class MovedInputs : public Linear {
 public:
  // base [n_out, n_in], with the bias.
  explicit MovedInputs(std::unique_ptr<Linear> base);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const final;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const final;
  bool reads_less_by_input(size_t) const final { return false; }
  size_t bytes() const override { return base_->bytes(); }
  std::span<const float> bias() const final { return base_->bias(); }
  void decode(Compute& compute, MatView<float> W) const final;
  using Linear::factor;
  const Linear& factor(Axis axis) const final {
    if (axis == Axis::kOut) return base_->factor(axis);
    return *this;
  }
  const Linear& base() const { return *base_; }

 protected:
  // What the columns meet, of inputs x; both [n_in].
  virtual void meet(std::span<const float> x, std::span<float> to) const = 0;
  // A row of the form beneath as one of this matrix.
  virtual void take_back(std::span<const float> row, std::span<float> to) const = 0;

 private:
  std::unique_ptr<Linear> base_;
};

}  // namespace hunch
