// A matrix of floats of 8 bits with a scale for each block of it.
#pragma once
#include <array>

#include "io/quantised_matrix.h"

namespace hunch {

class Float8Matrix : public QuantisedMatrix {
 public:
  // `weight` [out, in] of E4M3 bytes. `scales`: one number; or [out] or [out, 1]; or [ceil(out / block_rows),
  // ceil(in / block_cols)] of the config's blocks, whose last may be smaller. Throws Error{kFormat} naming the tensor.
  Float8Matrix(const Tensor& weight, const Tensor& scales, const QuantisedConfig& config);
  void values(size_t row, float* out) const override;
  std::optional<DType> blocks() const override;
  void write_blocks(size_t row, std::byte* out) const override;

 private:
  const std::byte* bytes_;
  std::vector<float> scales_;
  size_t block_rows_ = 1, block_cols_ = 1, scale_cols_ = 1;
  std::array<float, 256> numbers_;
};

}  // namespace hunch
