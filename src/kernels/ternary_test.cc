#include "kernels/ternary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/each_target.h"

namespace hunch {
namespace {

struct Matrix {
  Matrix(size_t n_rows, size_t n) : stride(ternary_bytes(n) + 3), bytes(n_rows * stride), rows(n_rows) {
    std::mt19937 rng(5);
    for (size_t r = 0; r < n_rows; ++r) {
      rows[r].resize(n);
      for (int8_t& w : rows[r]) w = int8_t(int(rng() % 3) - 1);
      pack_ternary(rows[r], bytes.data() + r * stride);
    }
  }
  const std::byte* row(size_t r) const { return bytes.data() + r * stride; }
  size_t stride;
  std::vector<std::byte> bytes;
  std::vector<std::vector<int8_t>> rows;
};

TEST(Ternary, ComesBackAsItWasPacked) {
  for (const size_t n : {1, 63, 64, 256, 257, 700}) {
    const Matrix m(2, n);
    std::vector<int8_t> back(ternary_padded(n), 9);
    unpack_ternary(m.row(1), back);
    for (size_t i = 0; i < back.size(); ++i) ASSERT_EQ(back[i], i < n ? m.rows[1][i] : 0) << n << " " << i;
  }
}

TEST(Ternary, RoundsAsTheReferenceOnEveryTarget) {
  std::mt19937 rng(6);
  std::normal_distribution<float> normal;
  for_each_target([&] {
    for (const size_t n : {1, 5, 16, 33, 256, 300}) {
      for (const float size : {0.0f, 1e-9f, 1.0f, 1e6f}) {
        std::vector<float> x(n);
        for (float& v : x) v = size * normal(rng);
        if (n == 33) x[4] = 127 * size, x[5] = 0.5f * size, x[6] = -1.5f * size;  // halves go to the even number
        std::vector<int8_t> q(ternary_padded(n), 3), want(q.size(), 4);
        ASSERT_EQ(round_to_int8(x, q), ref::round_to_int8(x, want));
        ASSERT_EQ(q, want) << n << " " << size;
      }
    }
  });
}

TEST(Ternary, ProductsAreTheReferencesOnEveryTarget) {
  std::mt19937 rng(7);
  std::normal_distribution<float> normal;
  for_each_target([&] {
    for (const size_t n : {1, 64, 255, 256, 700}) {
      const Matrix m(3, n);
      std::vector<float> x(ternary_padded(n));
      std::vector<int8_t> q(x.size());
      for (size_t i = 0; i < n; ++i) x[i] = normal(rng), q[i] = i % 5 == 0 ? -127 : int8_t(int(rng() % 255) - 127);
      for (size_t r = 0; r < 3; ++r) {
        ASSERT_EQ(ternary_dot(m.row(r), std::span<const int8_t>(q)),
                  ref::ternary_dot(m.row(r), std::span<const int8_t>(q)));
        ASSERT_NEAR(ternary_dot(m.row(r), std::span<const float>(x)),
                    ref::ternary_dot(m.row(r), std::span<const float>(x)), 1e-6f * float(n) + 1e-6f);
      }
    }
  });
}

TEST(Ternary, SumsOfRowsAreTheReferencesOnEveryTarget) {
  constexpr size_t kRows = 900, kCols = 512;
  const Matrix m(kRows, kCols);
  std::mt19937 rng(8);
  std::normal_distribution<float> normal;
  std::vector<int8_t> q(kRows);
  std::vector<float> a(kRows);
  for (size_t k = 0; k < kRows; ++k) q[k] = k % 2 ? 127 : int8_t(int(rng() % 255) - 127), a[k] = normal(rng);
  for_each_target([&] {
    for (const size_t every : {1, 2, 7, 1000}) {
      std::vector<uint32_t> ids;
      for (uint32_t k = 0; k < kRows; k += uint32_t(every)) ids.push_back(k);
      if (every == 1000) ids.clear();
      std::vector<int32_t> y(kCols, 5), want(kCols, 6);
      ternary_sum(m.row(0), m.stride, ids, std::span<const int8_t>(q), y);
      ref::ternary_sum(m.row(0), m.stride, ids, std::span<const int8_t>(q), want);
      ASSERT_EQ(y, want);
      std::vector<float> f(kCols, 5), expected(kCols, 6);
      ternary_sum(m.row(0), m.stride, ids, std::span<const float>(a), f);
      ref::ternary_sum(m.row(0), m.stride, ids, std::span<const float>(a), expected);
      for (size_t r = 0; r < kCols; ++r) ASSERT_NEAR(f[r], expected[r], 1e-6f * kRows) << r;
    }
  });
}

}  // namespace
}  // namespace hunch
