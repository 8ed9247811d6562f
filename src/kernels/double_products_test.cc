#include "kernels/double_products.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

TEST(DoubleProducts, AreTheReferenceOnEveryTarget) {
  std::mt19937 rng(4);
  std::normal_distribution<double> normal;
  Compute compute(2);
  for_each_target([&] {
    for (const auto& [m, n, k] : {std::array<size_t, 3>{1, 1, 1},
                                  {4, 4, 8},
                                  {5, 3, 7},
                                  {64, 64, 64},
                                  {67, 130, 33},
                                  {9, 4, 1037},
                                  {3, 70, 0}}) {
      const size_t stride = k + 3, out = n + 5;
      std::vector<double> a(m * stride), b(n * stride), c(m * out);
      for (auto* values : {&a, &b, &c})
        for (double& v : *values) v = normal(rng);
      std::vector<double> want = c;
      const MatView<const double> A(a.data(), m, k, stride), B(b.data(), n, k, stride);
      subtract_products(compute, A, B, {c.data(), m, n, out});
      ref::subtract_products(A, B, {want.data(), m, n, out});
      for (size_t i = 0; i < c.size(); ++i)
        ASSERT_NEAR(c[i], want[i], 1e-15 * double(10 + 10 * k)) << m << " " << n << " " << k << " " << i;
    }
  });
}

}  // namespace
}  // namespace hunch
