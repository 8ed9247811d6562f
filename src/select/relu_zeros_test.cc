#include "select/relu_zeros.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "kernels/each_target.h"

namespace hunch {
namespace {

std::vector<uint32_t> plain(std::span<const float> x) {
  std::vector<uint32_t> rows;
  for (size_t i = 0; i < x.size(); ++i)
    if (!(x[i] == 0)) rows.push_back(uint32_t(i));
  return rows;
}

TEST(SelectNonzero, FindsExactlyTheNonzeroOnEveryTarget) {
  for_each_target([] {
    std::mt19937 rng(1);
    Rows out;
    for (size_t n : {0, 1, 3, 4, 7, 8, 15, 16, 17, 63, 257, 1023, 1024, 1025, 5000})
      for (uint32_t percent : {0, 3, 50, 97, 100}) {
        std::vector<float> x(n);
        for (float& v : x) v = rng() % 100 < percent ? float(int(rng() % 9) - 4) + 0.5f : rng() % 2 ? 0.0f : -0.0f;
        select_nonzero(x, out);
        EXPECT_EQ(std::vector<uint32_t>(out.ids().begin(), out.ids().end()), plain(x)) << n << " at " << percent;
        EXPECT_EQ(out.n_total(), n);
        EXPECT_FALSE(out.is_all());
      }
  });
}

TEST(SelectNonzero, KeepsNaNAndTheSmallestNumber) {
  for_each_target([] {
    std::vector<float> x(40, -0.0f);
    x[3] = std::numeric_limits<float>::quiet_NaN();
    x[20] = std::numeric_limits<float>::denorm_min();
    x[39] = -std::numeric_limits<float>::infinity();
    Rows out;
    select_nonzero(x, out);
    EXPECT_EQ(std::vector<uint32_t>(out.ids().begin(), out.ids().end()), (std::vector<uint32_t>{3, 20, 39}));
  });
}

TEST(SelectNonzero, ReusesItsMemory) {
  std::vector<float> x(3000, 1.0f);
  Rows out;
  select_nonzero(x, out);
  const uint32_t* memory = out.ids().data();
  select_nonzero(x, out);
  EXPECT_EQ(out.ids().data(), memory);
  EXPECT_EQ(out.size(), 3000u);
}

}  // namespace
}  // namespace hunch
