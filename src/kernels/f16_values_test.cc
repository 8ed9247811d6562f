// Every f16 bit pattern as a weight, on every SIMD target: what is infinite, not a number or subnormal must come out as
// the scalar reference has it. A broken weight shows, it does not vanish.
#include <gtest/gtest.h>

#include <cmath>

#include "base/half.h"
#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

constexpr size_t kCols = 37;  // no whole number of vectors on any target

void expect_same(std::span<const float> got, std::span<const float> want) {
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << "f16 " << i << ": expected NaN, found " << got[i];
    } else if (std::isinf(want[i])) {
      EXPECT_EQ(got[i], want[i]) << "f16 " << i;
    } else {
      EXPECT_NEAR(got[i], want[i], 1e-6 * std::abs(want[i])) << "f16 " << i;
    }
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(F16Values, AreTheSameInProductsOnEveryTarget) {
  constexpr size_t kRows = 1 << 16;  // row r holds the f16 of bits r, in every place in turn, among zeros
  std::vector<f16> weights(kRows * kCols, f16{0});
  for (size_t r = 0; r < kRows; ++r) weights[r * kCols + r % kCols].bits = uint16_t(r);
  const WeightView W{DType::kF16, reinterpret_cast<const std::byte*>(weights.data()), kRows, kCols, kCols * 2};
  const std::vector<float> x(3 * kCols, 1.0f);
  std::vector<float> want(kRows), got(3 * kRows);
  for (size_t r = 0; r < kRows; ++r) want[r] = to_f32(f16{uint16_t(r)});
  Compute compute(1);
  for_each_target([&] {
    for (const size_t n_tokens : {size_t{1}, size_t{3}}) {  // a stream of rows, and panels
      const MatmulTask task{W, {}, {got.data(), n_tokens, kRows, kRows}};
      matmul(compute, {x.data(), n_tokens, kCols, kCols}, {&task, 1});
      for (size_t t = 0; t < n_tokens; ++t) expect_same(std::span(got).subspan(t * kRows, kRows), want);
    }
  });
}

TEST(F16Values, AreTheSameInSumsOfRowsOnEveryTarget) {
  constexpr size_t kRowCols = 1 << 16;
  std::vector<f16> weights(kRowCols);
  for (size_t i = 0; i < kRowCols; ++i) weights[i].bits = uint16_t(i);
  const WeightView Wt{DType::kF16, reinterpret_cast<const std::byte*>(weights.data()), 1, kRowCols, kRowCols * 2};
  const float one = 1;
  std::vector<float> want(kRowCols), got(kRowCols);
  for (size_t i = 0; i < kRowCols; ++i) want[i] = to_f32(weights[i]);
  Compute compute(1);
  for_each_target([&] {
    matmul_transposed(compute, {&one, 1, 1, 1}, Wt, {}, {got.data(), 1, kRowCols, kRowCols});
    // Rows are taken several at a time, absent ones with the factor 0: infinity may come out as NaN, but not as a
    // number.
    for (size_t i = 0; i < kRowCols; ++i)
      if (!std::isfinite(want[i]) && !std::isfinite(got[i])) got[i] = want[i];
    expect_same(got, want);
  });
}

TEST(F16Values, ABrokenScaleOfABlockShowsOnEveryTarget) {
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0}) {
    const Format& geometry = info(dtype);
    for (const uint16_t bits : {0x7c00, 0xfc00, 0x7e00, 0x7c01}) {
      std::vector<std::byte> row(8 * geometry.block_bytes, std::byte{0x17});
      for (size_t b = 0; b < 8; ++b) std::memcpy(&row[b * geometry.block_bytes], "\0\x2c", 2);  // 2^-4
      std::memcpy(&row[5 * geometry.block_bytes], &bits, 2);
      const WeightView W{dtype, row.data(), 1, 256, row.size()};
      const std::vector<float> x(256, 1.0f);
      Compute compute(1);
      for_each_target([&] {
        float y = 0;
        const MatmulTask task{W, {}, {&y, 1, 1, 1}};
        matmul(compute, {x.data(), 1, 256, 256}, {&task, 1});
        EXPECT_FALSE(std::isfinite(y)) << name_of(dtype) << " with scale " << bits << ": " << y;
      });
    }
  }
}

}  // namespace
}  // namespace hunch
