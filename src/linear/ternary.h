// A matrix of -1, 0 and 1, times one number: BitNet b1.58 (Ma et al. 2024, arXiv:2402.17764).
#pragma once
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "linear/linear.h"

namespace hunch {

// Held at two bits a weight (kernels/ternary.h): by output, and where asked by input too, so that inputs that are left
// out are not read. Products are exact sums of integers where inputs are rounded, else of floats. The bits of a token
// do not depend on the others.
class Ternary final : public Linear {
 public:
  struct Options {
    float scale = 1;            // W = scale * the integers
    bool round_inputs = false;  // each token's inputs become int8 with one scale (kernels/ternary.h)
    bool by_input = false;      // held by input too
  };
  // Reads W [n_out, n_in] of any type, which need not live on. Throws Error{kFormat} naming `name` where a weight is
  // none of -1, 0, 1, Error{kMemory}.
  Ternary(LinearId id, Compute& compute, const WeightView& W, std::vector<float> bias, const Options& options,
          std::string_view name);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t unit) const override { return options_.by_input && unit == 1; }
  size_t bytes() const override { return rows_.size(); }
  std::span<const float> bias() const override { return bias_; }
  void decode(Compute& compute, MatView<float> W) const override;
  std::string_view made_into() const override { return "ternary"; }

 private:
  // A token's inputs as products take them, padded with zeros.
  struct Input {
    std::span<const float> values;  // not rounded
    std::span<const int8_t> codes;  // rounded
    float scale;                    // of a product with either
  };
  Input prepare(Compute& compute, std::span<const float> x) const;
  float dot(size_t row, const Input& x) const;
  void add_chosen(Compute& compute, const Input& x, std::span<const uint32_t> ids, std::span<float> y) const;
  const std::byte* row(size_t r) const;

  Options options_;
  std::vector<float> bias_;
  AlignedBuffer rows_, by_input_;
};

}  // namespace hunch
