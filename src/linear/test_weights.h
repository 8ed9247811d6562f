// Random matrices for the tests of forms.
#pragma once
#include <cmath>
#include <random>
#include <vector>

#include "formats/format.h"
#include "formats/weight_view.h"

namespace hunch {

inline std::vector<float> random_values(size_t n, uint32_t seed, float scale = 1) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = scale * normal(rng);
  return x;
}

// A matrix of some format, and what its codec makes of the values.
struct Weights {
  Weights(DType dtype, size_t rows, size_t cols, uint32_t seed)
      : bytes(rows * row_bytes(dtype, cols)), values(rows * cols) {
    codec(dtype).encode(random_values(rows * cols, seed, 1 / std::sqrt(float(cols))).data(), bytes.data(), rows * cols);
    codec(dtype).decode(bytes.data(), values.data(), rows * cols);
    view = {dtype, bytes.data(), rows, cols, row_bytes(dtype, cols)};
  }
  std::vector<std::byte> bytes;
  std::vector<float> values;
  WeightView view;
};

}  // namespace hunch
