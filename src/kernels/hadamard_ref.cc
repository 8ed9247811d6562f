#include <bit>
#include <cmath>
#include <vector>

#include "kernels/hadamard.h"

namespace hunch::ref {

void hadamard(std::span<float> row, size_t block) {
  const std::vector<float> x(row.begin(), row.end());
  for (size_t i = 0; i < row.size(); ++i) {
    double sum = 0;
    for (size_t j = 0; j < block; ++j) {
      const double value = x[i / block * block + j];
      sum += std::popcount(i % block & j) % 2 ? -value : value;
    }
    row[i] = float(sum / std::sqrt(double(block)));
  }
}

}  // namespace hunch::ref
