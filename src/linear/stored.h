// A matrix of blocks of one format, as it lies in a file or in a copy that Layouts made.
#pragma once
#include <memory>
#include <vector>

#include "kernels/column_blocks.h"
#include "linear/linear.h"

namespace hunch {

class Layouts;

// Rows of outputs, rows of inputs (a down projection by neuron), or both. Which rows a step's tokens want is answered
// in one of three ways (RowPath), chosen by the costs in Layouts, never by a clock: each token's own, their union, or
// all.
class Stored final : public Linear {
 public:
  // `rows` [n_out, n_in] or `by_input` [n_in, n_out], which must outlive this; bias [n_out] or empty. `layouts` owns
  // its copies and outlives it.
  Stored(LinearId id, WeightView rows, WeightView by_input, std::vector<float> bias, const Layouts& layouts);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t unit) const override;
  size_t bytes() const override { return rows_ ? rows_.bytes() : by_input_.bytes(); }
  WeightView rows() const override { return rows_; }
  WeightView by_input() const override { return by_input_; }
  std::span<const float> bias() const override { return bias_; }
  void decode(Compute& compute, MatView<float> W) const override;
  Stored* stored() override { return this; }
  WeightView plain(Tokens) const override { return rows_; }

 private:
  friend class Layouts;
  void dot_all(Compute& compute, Tokens tokens, MatView<const float> X, MatView<float> Y) const;
  void add_all(Compute& compute, Tokens tokens, MatView<const float> A, MatView<float> Y) const;
  void dot_some(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const;
  void add_some(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const;
  void add_blocks(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const;

  WeightView rows_, by_input_;
  ColumnBlocks blocks_;  // the columns of each group of inputs together, where someone asked for that copy
  std::vector<float> bias_;
  const Layouts& layouts_;
};

}  // namespace hunch
