// A matrix to which the runs of a step may add something of their own: low-rank adapters.
#pragma once
#include <memory>

#include "linear/adapter.h"

namespace hunch {

// Wraps the form that holds W. What W itself gives, and which of its rows, copies and paths that reads, stays that
// form's business, whatever adapters the tokens have; then the low-rank part is added for tokens that have one: of the
// rows that a token wants, from the inputs that it has.
class Adapted final : public Linear {
 public:
  explicit Adapted(std::unique_ptr<Linear> base) : Linear(base->id, base->n_in, base->n_out), base_(std::move(base)) {}

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t unit) const override { return base_->reads_less_by_input(unit); }
  size_t bytes() const override { return base_->bytes(); }
  WeightView rows() const override { return base_->rows(); }
  WeightView by_input() const override { return base_->by_input(); }
  std::span<const float> bias() const override { return base_->bias(); }
  void decode(Compute& compute, MatView<float> W) const override { base_->decode(compute, W); }
  std::string_view made_into() const override { return base_->made_into(); }
  WeightView plain(Tokens tokens) const override;
  void finish(Compute& compute, Tokens tokens, MatView<const float> X, std::span<const Part> parts) const override;
  const Linear& factor(Axis axis) const override { return base_->factor(axis); }
  const Linear& base() const { return *base_; }  // W as it is for tokens without an adapter

 private:
  // What replaces W for this token, or the base form.
  const Linear& matrix_of(const TokenTraits& token) const;
  // each(matrix, first, n) for stretches of tokens that one of them serves.
  template <class Each>
  void for_each_matrix(Tokens tokens, const Each& each) const;

  std::unique_ptr<Linear> base_;
};

}  // namespace hunch
