// A matrix whose outputs are divided among ranks: the vocabulary's.
#pragma once
#include <memory>
#include <vector>

#include "linear/linear.h"
#include "parallel/communicator.h"

namespace hunch {

// Each rank multiplies its own rows, and rank 0 gets all products: the others' Y is left as it was. Every rank asks for
// the same tokens at the same time.
class Gathered final : public Linear {
 public:
  // `own` [n_own, n_in]: this rank's rows; n_rows: of every rank, in turn. `ranks` outlives this.
  Gathered(std::unique_ptr<Linear> own, std::vector<size_t> n_rows, Communicator& ranks);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t unit) const override { return own_->reads_less_by_input(unit); }
  size_t bytes() const override { return own_->bytes(); }
  const Linear& factor(Axis axis) const override { return std::as_const(*own_).factor(axis); }
  std::string_view made_into() const override { return "divided among ranks"; }

 private:
  // of_own(first, X's rows, their part of Y): a few tokens at a time.
  template <class OfOwn>
  void gather(Compute& compute, size_t n_tokens, MatView<float> Y, const OfOwn& of_own) const;

  const std::unique_ptr<Linear> own_;
  const std::vector<size_t> n_rows_;
  Communicator& ranks_;
};

}  // namespace hunch
