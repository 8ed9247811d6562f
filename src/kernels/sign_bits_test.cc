#include "kernels/sign_bits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

// Every length in and around a word and a line, on every target, against the reference.
TEST(SignBits, MatchTheReferenceOnEveryTarget) {
  for_each_target([] {
    std::mt19937_64 rng(1);
    std::normal_distribution<float> normal;
    for (size_t n : {1, 7, 8, 63, 64, 65, 127, 511, 512, 513, 1000, 4096}) {
      std::vector<float> x(n);
      for (float& v : x) v = normal(rng);
      if (n > 8) x[3] = 0.0f, x[5] = -0.0f, x[n - 1] = -INFINITY;
      std::vector<uint64_t> bits(sign_words(n), ~uint64_t{0}), want = bits;
      pack_signs(x, bits);
      ref::pack_signs(x, want);
      ASSERT_EQ(bits, want) << n;

      for (size_t n_rows : {0, 1, 5}) {
        std::vector<uint64_t> planes(n_rows * bits.size() + 1);  // one more: rows need not be aligned
        for (uint64_t& w : planes) w = rng();
        std::vector<float> counts(n_rows, -1), expected(n_rows, -2);
        count_sign_differences(planes.data() + 1, bits, counts);
        ref::count_sign_differences(planes.data() + 1, bits, expected);
        ASSERT_EQ(counts, expected) << n << " " << n_rows;
      }
    }
  });
}

TEST(SignBits, CountWhatDiffers) {
  const std::vector<float> a = {1, -1, 2, -2, 3}, b = {1, 1, -2, -2, 3};
  std::vector<uint64_t> x(sign_words(5)), y(sign_words(5));
  pack_signs(a, x);
  pack_signs(b, y);
  float count = -1;
  count_sign_differences(y.data(), x, {&count, 1});
  EXPECT_EQ(count, 2);
}

}  // namespace
}  // namespace hunch
