#include "kernels/orthonormalise.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace hunch {
namespace {

TEST(Orthonormalise, DropsDependentRows) {
  constexpr size_t kRows = 4, kCols = 10;
  std::mt19937 rng(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(kRows * kCols);
  for (float& v : values) v = normal(rng);
  const MatView<float> X(values.data(), kRows, kCols);
  for (size_t i = 0; i < kCols; ++i) X.row(3)[i] = X.row(0)[i] - 2 * X.row(1)[i];
  orthonormalise(X);
  for (size_t i = 0; i < kRows; ++i)
    for (size_t j = 0; j < kRows; ++j) {
      double product = 0;
      for (size_t c = 0; c < kCols; ++c) product += double(X.row(i)[c]) * X.row(j)[c];
      EXPECT_NEAR(product, i == j && i < 3 ? 1 : 0, 1e-5) << i << ", " << j;
    }
}

}  // namespace
}  // namespace hunch
