// ZeroQuant's rounding: weights in groups, activations by token (Yao et al. 2022, arXiv:2206.01861, section 4.1; the
// constants are DeepSpeed's).
#pragma once
#include <cstdint>
#include <vector>

#include "compress/linear_algebra.h"

namespace hunch {

struct ZeroQuantised {
  Matrix values;
  std::vector<int> codes;          // [rows * cols]
  std::vector<float> scale, zero;  // [n_groups]; value = code * scale + zero, zero a multiple of the scale
};

// `n_groups` equal runs of the flattened matrix; of activations one for each token. Symmetric: scale 2 absmax / 2^bits,
// so that the largest code is clamped; else (max - min) / 2^bits. Throws Error{kUsage} for groups that are not equal.
ZeroQuantised zeroquant(const Matrix& W, int bits, size_t n_groups, bool symmetric);

}  // namespace hunch
