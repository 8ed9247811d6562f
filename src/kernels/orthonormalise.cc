#include "kernels/orthonormalise.h"

#include <cmath>

#include "kernels/ops.h"

namespace hunch {

void orthonormalise(MatView<float> rows) {
  for (size_t i = 0; i < rows.rows; ++i) {
    const std::span<float> x = rows.row(i);
    const float before = std::sqrt(dot(x, x));
    for (int pass = 0; pass < 2; ++pass)
      for (size_t j = 0; j < i; ++j) axpy(-dot(x, rows.row(j)), rows.row(j), x);
    const float norm = std::sqrt(dot(x, x));
    scale(norm > 1e-5f * before && norm > 0 ? 1 / norm : 0.0f, x);
  }
}

}  // namespace hunch
