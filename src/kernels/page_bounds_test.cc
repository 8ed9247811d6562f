#include "kernels/page_bounds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> normal(size_t n, std::mt19937& rng) {
  std::normal_distribution<float> distribution;
  std::vector<float> x(n);
  for (float& v : x) v = distribution(rng);
  return x;
}

// Summaries of random pages in a block of their exact size, so that ASan sees a read past it.
template <class T>
void expect_the_reference(size_t n_rows, size_t d, size_t n_pages, std::mt19937& rng) {
  constexpr size_t kKeys = 5;
  const std::unique_ptr<T[]> summaries(new T[n_pages * 2 * d]);
  std::vector<std::vector<float>> keys;
  for (size_t p = 0; p < n_pages; ++p) {
    keys.push_back(normal(kKeys * d, rng));
    summarise_keys({keys[p].data(), kKeys, d}, summaries.get() + p * 2 * d);
  }
  const size_t stride = d + 3, out = n_pages + 2;
  const std::vector<float> q = normal(n_rows * stride, rng);
  std::vector<float> got(n_rows * out, -7), want = got, scratch(page_bounds_scratch(n_rows, d));
  const MatView<const float> Q(q.data(), n_rows, d, stride);
  page_bounds(summaries.get(), Q, {got.data(), n_rows, n_pages, out}, scratch.data());
  ref::page_bounds(summaries.get(), Q, {want.data(), n_rows, n_pages, out});
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-6 * double(d + 8)) << n_rows << " " << d;
  for (size_t r = 0; r < n_rows; ++r)
    for (size_t p = 0; p < n_pages; ++p)
      for (size_t j = 0; j < kKeys; ++j) {
        double product = 0;
        for (size_t i = 0; i < d; ++i) product += double(Q.row(r)[i]) * keys[p][j * d + i];
        ASSERT_LE(product, got[r * out + p] + 1e-4) << "key " << j << " of page " << p;
      }
}

TEST(PageBounds, AreTheReferenceAndBoundsOnEveryTarget) {
  for_each_target([] {
    std::mt19937 rng(3);
    for (const size_t d : {1, 3, 8, 12, 20, 64, 80})
      for (const size_t n_rows : {1, 2, 3, 8})
        for (const size_t n_pages : {1, 3, 4, 16, 37}) {
          expect_the_reference<float>(n_rows, d, n_pages, rng);
          expect_the_reference<f16>(n_rows, d, n_pages, rng);
        }
  });
}

TEST(PageBounds, HalvesAreRoundedAwayFromTheKeys) {
  std::mt19937 rng(4);
  std::vector<float> values = normal(4000, rng);
  for (size_t i = 0; i < values.size(); ++i) values[i] *= std::exp2(float(int(i % 60) - 40));
  for (const float special : {0.0f, -0.0f, 1e-30f, -1e-30f, 65504.0f, 65505.0f, 70000.0f, -70000.0f, 6.1e-5f})
    values.push_back(special);
  for (const float value : values) {
    f16 summary[2];
    summarise_keys(MatView<const float>(&value, 1, 1), summary);
    const float largest = to_f32(summary[0]), smallest = to_f32(summary[1]);
    ASSERT_GE(largest, value);
    ASSERT_LE(smallest, value);
    const float step = std::max(std::abs(value) * 0x1p-10f, 0x1p-24f);
    if (std::abs(value) < 65504) ASSERT_LE(largest - smallest, step) << value << ": one step of the halves";
    if (std::abs(value) == 65504) EXPECT_EQ(largest, smallest);
  }
  const float beyond[] = {70000, -70000};
  f16 summary[4];
  summarise_keys(MatView<const float>(beyond, 1, 2), summary);
  EXPECT_EQ(to_f32(summary[0]), kInf);
  EXPECT_EQ(to_f32(summary[2]), 65504.0f);
  EXPECT_EQ(to_f32(summary[3]), -kInf);
}

TEST(PageBounds, OfWhatIsNoNumberNothingIsKnown) {
  for_each_target([] {
    std::vector<float> summaries(2 * 2 * 32, 1.0f), bounds(2), scratch(page_bounds_scratch(1, 32));
    summaries[5] = kInf;  // q is 0 there
    std::vector<float> q(32, 0.0f);
    page_bounds(summaries.data(), {q.data(), 1, 32}, {bounds.data(), 1, 2}, scratch.data());
    EXPECT_EQ(bounds, (std::vector<float>{kInf, 0}));
  });
}

}  // namespace
}  // namespace hunch
