// A matrix that pruning left with zeros, without them (kernels/sparse_strips.h).
#pragma once
#include <string_view>
#include <vector>

#include "kernels/sparse_strips.h"
#include "linear/linear.h"

namespace hunch {

// Rows lie sixteen together, so that all are computed where a token wants some, and inputs that it leaves out are
// multiplied as zeros: contextual sparsity works on it and reads no less. A token's bits, where it wants them alone,
// do not depend on the others.
class Sparse final : public Linear {
 public:
  // Reads W [n_out, n_in], which need not live on. Throws Error{kMemory}, Error{kInterrupted}.
  Sparse(LinearId id, Compute& compute, const SparseRows& W, std::vector<float> bias);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t) const override { return false; }
  size_t bytes() const override { return strips_.view().bytes(); }
  std::span<const float> bias() const override { return bias_; }
  void decode(Compute& compute, MatView<float> W) const override;
  std::string_view made_into() const override { return "stored without its zeros"; }
  const SparseStrips& strips() const { return strips_.view(); }

 private:
  OwnedStrips strips_;
  std::vector<float> bias_;
};

}  // namespace hunch
