// The numbers in a matrix, whatever its form: for whoever learns from weights. Never in a step.
#pragma once
#include "base/aligned_buffer.h"
#include "linear/linear.h"

namespace hunch {

// Decodes every row of W into `out` [W.rows, W.cols].
void decode_rows(Compute& compute, const WeightView& W, MatView<float> out);

// W by output: as the form has it stored, else a copy in f32 (rows of inputs are turned, factors multiplied).
class Values {
 public:
  // `matrix` must outlive this. Throws Error{kMemory} where there is none for the copy.
  Values(Compute& compute, const Linear& matrix);
  const WeightView& rows() const { return rows_; }  // [n_out, n_in]

 private:
  AlignedBuffer copy_;
  WeightView rows_;
};

}  // namespace hunch
