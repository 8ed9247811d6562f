// Some rows of a matrix, copied together: a dense product over fewer of them, for rows that many tokens want
// (the neurons that a prompt chose: GRIFFIN, Dong et al. 2024, section 4).
#pragma once
#include <vector>

#include "base/aligned_buffer.h"
#include "linear/linear.h"

namespace hunch {

class Packed final : public Linear {
 public:
  // Whether a matrix can be packed along this axis: its outputs always, its inputs where they lie by input or element
  // by element.
  static bool applies(const Linear& base, Axis axis);
  // Bytes of the copy of k rows.
  static size_t bytes_needed(const Linear& base, Axis axis, size_t k);
  // Copies; `kept` is not all. The memory is AlignedBuffer's: Error{kMemory}.
  Packed(Compute& compute, const Linear& base, Axis axis, Rows kept);

  // The rows asked for are those that were packed (HUNCH_CHECK), by outputs in dot(), by inputs in add().
  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t) const override { return axis_ == Axis::kIn; }
  size_t bytes() const override { return W_.bytes(); }

 private:
  void check(RowSet rows, Axis axis) const;

  Axis axis_;
  Rows kept_;
  AlignedBuffer memory_;
  WeightView W_;  // kOut: [k, n_in]; kIn: [k, n_out] if by_input_, else [n_out, k]
  bool by_input_ = false;
  std::vector<float> bias_;  // of the rows that are kept
};

}  // namespace hunch
