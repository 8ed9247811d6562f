// A matrix that meets its inputs rotated, so that none of them is an outlier (Ashkboos et al. 2024, "QuaRot",
// arXiv:2404.00456, section 4.2): W = (W H) H for a Hadamard matrix H, its own inverse, where W H is what is stored.
#pragma once
#include "linear/moved_inputs.h"

namespace hunch {

class Rotated final : public MovedInputs {
 public:
  // The base is W H, H of blocks of hadamard_block(n_in).
  explicit Rotated(std::unique_ptr<Linear> base);

  std::string_view made_into() const override { return "stored for rotated inputs"; }

 private:
  void meet(std::span<const float> x, std::span<float> to) const override;
  void take_back(std::span<const float> row, std::span<float> to) const override { meet(row, to); }
};

}  // namespace hunch
