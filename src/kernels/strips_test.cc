#include "kernels/strips.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "formats/strip_shape.h"
#include "kernels/matmul.h"
#include "kernels/matmul_test_util.h"

namespace hunch {
namespace {

std::vector<DType> block_types() {
  std::vector<DType> types = computing_types();
  std::erase_if(types, is_plain);
  return types;
}

// A matrix with strips, which are exactly as long as they need to be.
struct Interleaved {
  TestMatrix W;
  std::vector<std::byte> strips;

  explicit Interleaved(TestMatrix matrix) : W(std::move(matrix)) {
    W.view.data = W.bytes.data();
    W.view.strip_stride_bytes = strip_bytes(W.view.dtype, W.view.cols);
    const size_t n = (W.view.rows + kStripRows - 1) / kStripRows;
    strips.resize(n * W.view.strip_stride_bytes, std::byte(0xaa));  // all of it is to be written
    pack_strips(W.view, 0, n, strips.data());
    W.view.strips = strips.data();
  }
};

// Blocks of 32: tails within a group, and groups beyond a panel's depth.
std::vector<size_t> column_counts(DType dtype) {
  switch (info(dtype).block_elems) {
    case 32: return {32, 96, 352, 768};
    case 64: return {64, 320, 768};
    default: return {256, 512, 768};
  }
}

std::vector<float> product(Compute& compute, const WeightView& W, MatView<const float> X, TokenBits bits) {
  std::vector<float> y(X.rows * W.rows);
  const MatmulTask task{W, {}, MatView<float>(y.data(), X.rows, W.rows)};
  matmul(compute, X, {&task, 1}, bits);
  return y;
}

TEST(Strips, MultiplyAsTheRowsDoOnEveryTarget) {
  Compute compute(2);
  for_each_target([&] {
    if (!multiplies_strips()) return;
    for (const DType dtype : block_types())
      for (const size_t n_in : column_counts(dtype))
        for (const size_t rows : {1, 16, 37}) {
          const Interleaved m(random_matrix(dtype, rows, n_in, /*padding_bytes=*/6, uint32_t(n_in + rows)));
          for (const size_t n_tokens : {3, 5, 8, 9, 40}) expect_matmul(compute, m.W, n_tokens, n_tokens % 2 == 0, 7);
          for_each_maker([&] {
            for (const size_t n_tokens : {1, 2}) expect_matmul(compute, m.W, n_tokens, n_tokens % 2 == 0, 7);
          });
        }
  });
}

// In AMX tiles too, whose integer sums are the same.
TEST(Strips, InTilesHaveTheBitsOfTheOthers) {
  if (!has_amx_int8() || !multiplies_strips()) GTEST_SKIP() << "no AMX, or a build without its targets";
  Compute compute(2);
  for (const DType dtype : block_types())
    for (const size_t n_in : multiplies_floats(dtype) ? std::vector<size_t>() : column_counts(dtype))
      for (const size_t rows : {1, 37}) {
        const Interleaved m(random_matrix(dtype, rows, n_in, 0, uint32_t(n_in + rows)));
        for (const size_t n_tokens : {5, 8, 12, 16, 19, 33}) {
          SCOPED_TRACE(fmt::format("{} {}x{}, {} tokens", name_of(dtype), rows, n_in, n_tokens));
          Batch X(n_tokens, n_in, 0, uint32_t(n_tokens));
          const std::vector<float> got = product(compute, m.W.view, X.view, TokenBits::kAsAlone);
          const WithoutTiles without;
          ASSERT_EQ(got, product(compute, m.W.view, X.view, TokenBits::kAsAlone));
        }
      }
}

// All codes at either end: no partial sum of any target may saturate.
TEST(Strips, ExtremeCodesDoNotOverflow) {
  Compute compute(1);
  for_each_target([&] {
    if (!multiplies_strips()) return;
    for (const DType dtype : block_types())
      for (const int value : {0x00, 0x7f, 0x80, 0xff}) {
        TestMatrix W = random_matrix(dtype, 20, 512, 0, 3);
        W.fill_codes(std::byte(value));
        const Interleaved m(std::move(W));
        Batch X(3, 512, 0, 5);
        for (float& v : X.values) v = 1;
        X.view.data = X.values.data();
        expect_matmul(compute, m.W, X, false);
      }
  });
}

TEST(Strips, BitsOfATokenAreTheSameInEveryCompany) {
  Compute compute(2);
  for_each_target([&] {
    if (!multiplies_strips()) return;
    for (const DType dtype : block_types()) {
      const Interleaved m(random_matrix(dtype, 50, 768, 0, 4));
      const Batch X(45, 768, 0, 8);
      const std::vector<float> all = product(compute, m.W.view, X.view, TokenBits::kAsAlone);
      for (const size_t n : {1, 2, 3, 4, 7, 8, 23, 24, 45}) {
        const std::vector<float> some = product(compute, m.W.view, X.view.row_range(45 - n, n), TokenBits::kAsAlone);
        ASSERT_EQ(0, std::memcmp(some.data(), &all[(45 - n) * 50], some.size() * sizeof(float)))
            << name_of(dtype) << ", " << n << " tokens";
      }
    }
  });
}

TEST(Strips, APartOfTheRowsIsAPartOfTheProduct) {
  if (!multiplies_strips()) GTEST_SKIP() << "this target multiplies no strips";
  Compute compute(1);
  const Interleaved m(random_matrix(DType::kQ4_0, 70, 96, 0, 6));
  const Batch X(2, 96, 0, 9);
  const std::vector<float> all = product(compute, m.W.view, X.view, TokenBits::kFastest);
  const WeightView part = m.W.view.row_range(32, 20), between = m.W.view.row_range(8, 16);
  ASSERT_TRUE(part.strips);
  EXPECT_FALSE(between.strips) << "it begins within a strip";
  const std::vector<float> some = product(compute, part, X.view, TokenBits::kFastest);
  for (size_t t = 0; t < 2; ++t)
    for (size_t r = 0; r < 20; ++r) EXPECT_EQ(some[t * 20 + r], all[t * 70 + 32 + r]);
}

}  // namespace
}  // namespace hunch
