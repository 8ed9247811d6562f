#include "linear/rotated.h"

#include <algorithm>

#include "kernels/hadamard.h"

namespace hunch {

Rotated::Rotated(std::unique_ptr<Linear> base) : MovedInputs(std::move(base)) {}

void Rotated::meet(std::span<const float> x, std::span<float> to) const {
  std::ranges::copy(x, to.begin());
  hadamard(to, hadamard_block(n_in));
}

}  // namespace hunch
