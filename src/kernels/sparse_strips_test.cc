#include "kernels/sparse_strips.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "formats/strip_shape.h"
#include "formats/test_sparse.h"
#include "kernels/gemm_tiles.h"
#include "kernels/matmul_test_util.h"
#include "kernels/strips.h"

namespace hunch {
namespace {

constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kF16};
constexpr Zeros kZeros[] = {Zeros::kTwoOfFour, Zeros::kHalf, Zeros::kMost, Zeros::kNone, Zeros::kAll};

std::vector<float> sparse_product(Compute& compute, const SparseStrips& W, const Batch& X, std::span<const float> bias,
                                  TokenBits bits = TokenBits::kFastest) {
  std::vector<float> y(X.view.rows * W.rows);
  sparse_matmul(compute, X.view, W, bias, MatView<float>(y.data(), X.view.rows, W.rows), bits);
  return y;
}

// The dense product of the same blocks, from strips where the target has them.
std::vector<float> dense_product(Compute& compute, WeightView W, const Batch& X, std::span<const float> bias,
                                 TokenBits bits = TokenBits::kFastest) {
  std::vector<std::byte> strips;
  if (!is_plain(W.dtype) && multiplies_strips()) {
    W.strip_stride_bytes = strip_bytes(W.dtype, W.cols);
    strips.resize((W.rows + 15) / 16 * W.strip_stride_bytes);
    pack_strips(W, 0, (W.rows + 15) / 16, strips.data());
    W.strips = strips.data();
  }
  std::vector<float> y(X.view.rows * W.rows);
  const MatmulTask task{W, bias, MatView<float>(y.data(), X.view.rows, W.rows)};
  matmul(compute, X.view, {&task, 1}, bits);
  return y;
}

TEST(SparseStrips, HoldWhatTheRowsHold) {
  Compute compute(2);
  for (const DType dtype : kTypes)
    for (const Zeros zeros : kZeros)
      for (const size_t rows : {1, 16, 37}) {
        const PrunedMatrix m(dtype, rows, 160, zeros, 32, uint32_t(rows));
        const OwnedStrips strips(compute, m.rows);
        if (zeros == Zeros::kTwoOfFour || zeros == Zeros::kAll) {
          EXPECT_EQ(strips.view().two_of_four, dtype != DType::kF16);
        } else if (zeros == Zeros::kNone) {
          EXPECT_FALSE(strips.view().two_of_four);
        }
        std::vector<float> want(160);
        for (size_t i = 0; i < strips.view().n_strips(); ++i) {
          const size_t n = std::min<size_t>(16, rows - 16 * i);
          std::vector<float> got(n * 160, 7.0f);
          ref::decode_strip(strips.view(), i, MatView<float>(got.data(), n, 160));
          for (size_t r = 0; r < n; ++r) {
            codec(dtype).decode(m.dense.row(16 * i + r), want.data(), 160);
            ASSERT_EQ(want, std::vector<float>(&got[r * 160], &got[r * 160] + 160)) << name_of(dtype);
          }
        }
      }
}

// Bytes of two of four: 6 for the patterns of 64 weights, and half of their values; 8 for their masks.
TEST(SparseStrips, TakeTheBytesThatTheDocumentationSays) {
  Compute compute(1);
  const auto bytes_each = [&](DType dtype, Zeros zeros) {
    const PrunedMatrix m(dtype, 64, 4096, zeros, 128, 1);
    return double(OwnedStrips(compute, m.rows).view().bytes()) / (64 * 4096);
  };
  EXPECT_NEAR(bytes_each(DType::kQ8_0, Zeros::kTwoOfFour), 39.0 / 64, 0.001);
  EXPECT_NEAR(bytes_each(DType::kQ4_0, Zeros::kTwoOfFour), 23.0 / 64, 0.001);
  EXPECT_NEAR(bytes_each(DType::kQ8_0, Zeros::kHalf), 41.0 / 64, 0.02);
  EXPECT_NEAR(bytes_each(DType::kF16, Zeros::kHalf), 72.0 / 64, 0.04);
}

TEST(SparseStrips, MultiplyToTheBitsOfDenseOnesOnEveryTarget) {
  Compute compute(2);
  const std::vector<float> bias = normal_values(83, 5);
  for_each_target([&] {
    if (!multiplies_strips()) return;
    for (const DType dtype : {DType::kQ8_0, DType::kQ4_0})
      for (const Zeros zeros : kZeros)
        for (const size_t n_in : {32, 96, 384, 1152})
          for (const size_t rows : {1, 83}) {
            const PrunedMatrix m(dtype, rows, n_in, zeros, n_in % 128 ? 32 : 128, uint32_t(n_in));
            const OwnedStrips strips(compute, m.rows);
            for (const size_t n_tokens : {1, 2, 3, 5, 8, 9, 40}) {
              SCOPED_TRACE(std::string(name_of(dtype)) + " zeros " + std::to_string(int(zeros)) + " cols " +
                           std::to_string(n_in) + " tokens " + std::to_string(n_tokens));
              const Batch X(n_tokens, n_in, 3, 7);
              const std::span<const float> own = n_tokens % 2 ? std::span(bias).first(rows) : std::span<const float>();
              const std::vector<float> want = dense_product(compute, m.dense, X, own, TokenBits::kAsAlone);
              for_each_maker(
                  [&] { ASSERT_EQ(sparse_product(compute, strips.view(), X, own, TokenBits::kAsAlone), want); });
            }
          }
  });
}

TEST(SparseStrips, MultiplyAsTheReferenceDoesOnEveryTarget) {
  Compute compute(2);
  const std::vector<float> bias = normal_values(37, 5);
  for_each_target([&] {
    for (const DType dtype : kTypes)
      for (const Zeros zeros : kZeros)
        for (const size_t rows : {16, 37})
          for (const size_t n_tokens : {1, 2, 7, 33}) {
            SCOPED_TRACE(std::string(name_of(dtype)) + " zeros " + std::to_string(int(zeros)));
            const size_t n_in = 96;
            const PrunedMatrix m(dtype, rows, n_in, zeros, 96, 3);
            const OwnedStrips strips(compute, m.rows);
            const Batch X(n_tokens, n_in, 0, 7), seen = as_seen(dtype, X);
            const auto own = std::span(bias).first(rows);
            const std::vector<float> got = sparse_product(compute, strips.view(), X, own);
            std::vector<float> want(got.size());
            ref::matmul(seen.view, {m.dense, own, MatView<float>(want.data(), n_tokens, rows)});
            for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-6f * 96 * 8 * 3) << i;
          }
  });
}

TEST(SparseStrips, TokensAloneHaveTheirBitsInEveryCompany) {
  Compute compute(2);
  for_each_target([&] {
    for (const DType dtype : kTypes)
      for (const Zeros zeros : {Zeros::kTwoOfFour, Zeros::kHalf}) {
        const PrunedMatrix m(dtype, 50, 384, zeros, 32, 4);
        const OwnedStrips strips(compute, m.rows);
        const Batch X(45, 384, 0, 8);
        const std::vector<float> all = sparse_product(compute, strips.view(), X, {}, TokenBits::kAsAlone);
        for (const size_t n : {1, 2, 3, 4, 7, 8, 23, 24, 45}) {
          Batch part = X;
          part.view = MatView<const float>(X.values.data() + (45 - n) * 384, n, 384);
          const std::vector<float> some = sparse_product(compute, strips.view(), part, {}, TokenBits::kAsAlone);
          ASSERT_EQ(0, std::memcmp(some.data(), &all[(45 - n) * 50], some.size() * sizeof(float)))
              << name_of(dtype) << ", " << n << " tokens";
        }
      }
  });
}

TEST(SparseStrips, TakeTiles) {
  if (!multiplies_tiles()) GTEST_SKIP() << "no AMX tiles here";
  Compute compute(2);
  for (const DType dtype : kTypes)
    for (const Zeros zeros : kZeros) {
      const PrunedMatrix m(dtype, 83, 352, zeros, 32, 4);
      const OwnedStrips strips(compute, m.rows);
      const Batch X(40, 352, 0, 8);
      const std::vector<float> got = sparse_product(compute, strips.view(), X, {});
      const std::vector<float> want = dense_product(compute, m.dense, X, {});
      ASSERT_EQ(0, std::memcmp(got.data(), want.data(), got.size() * sizeof(float))) << name_of(dtype);
    }
}

}  // namespace
}  // namespace hunch
