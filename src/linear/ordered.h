// A matrix whose columns stand in another order than the inputs that they meet.
#pragma once
#include <vector>

#include "linear/moved_inputs.h"

namespace hunch {

class Ordered final : public MovedInputs {
 public:
  // Column j of the base meets input order[j], a permutation.
  Ordered(std::unique_ptr<Linear> base, std::vector<uint32_t> order);

  size_t bytes() const override { return MovedInputs::bytes() + order_.size() * sizeof(uint32_t); }
  std::string_view made_into() const override { return "stored with its inputs in another order"; }

 private:
  void meet(std::span<const float> x, std::span<float> to) const override;
  void take_back(std::span<const float> row, std::span<float> to) const override;

  std::vector<uint32_t> order_;
};

}  // namespace hunch
