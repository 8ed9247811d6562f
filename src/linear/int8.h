// A matrix of int8 with a scale for each output, whose products are of int8 too: W8A8. With some inputs apart as floats
// it is LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339).
#pragma once
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/int8_strips.h"
#include "linear/linear.h"
#include "linear/together.h"

namespace hunch {

// Held in strips (kernels/int8_strips.h), a byte a weight. Each token's inputs become int8 by its own scale, or by one
// that was measured; sums are of integers, so that the bits of a token do not depend on the others, nor on which rows
// are left out. Outputs that a token does not want are spared by sixteen, inputs by four, where that reads less.
class Int8 final : public Linear {
 public:
  // None of it need live on.
  struct Parts {
    WeightView codes;                     // kI8 [n_out, n_in]
    std::vector<float> scale;             // [n_out], or [1] for all
    float input_scale = 0;                // of inputs; 0: each token's own, of what it has
    std::vector<uint32_t> outliers = {};  // ascending: inputs that are multiplied as floats, with
    WeightView outlier_weight = {};       // [n_out, outliers.size()]; their codes are 0
  };
  // Throws Error{kFormat} naming `name` where parts do not fit each other, Error{kUnsupported} for more than 131,072
  // inputs, Error{kMemory}.
  Int8(LinearId id, Compute& compute, const Parts& parts, std::vector<float> bias, std::string_view name);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t unit) const override { return true; }
  size_t bytes() const override { return n_out * n_in + outlier_weight_.size(); }
  std::span<const float> bias() const override { return bias_; }
  void decode(Compute& compute, MatView<float> W) const override;
  std::string_view made_into() const override { return "of int8"; }
  // What they read alike is rounded once.
  void dot_beside(Compute& compute, Tokens tokens, MatView<const float> X,
                  std::span<const Product> products) const override;

 private:
  bool reads_as(const Int8& other) const { return input_scale_ == other.input_scale_ && outliers_ == other.outliers_; }
  const int8_t* strip(size_t s) const {
    return reinterpret_cast<const int8_t*>(strips_.data()) + s * int8_strip_bytes(n_in);
  }
  Int8Tokens rounded(Compute& compute, MatView<const float> X) const;
  Int8Task task(MatView<float> Y) const;
  void add_outliers(Compute& compute, Tokens tokens, MatView<const float> X, MatView<float> Y) const;

  AlignedBuffer strips_;
  std::vector<float> scale_, padded_bias_, bias_;
  float input_scale_;
  std::vector<uint32_t> outliers_;
  WeightView outlier_view_;
  AlignedBuffer outlier_weight_;
};

}  // namespace hunch
