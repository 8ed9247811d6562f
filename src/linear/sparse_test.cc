#include "linear/sparse.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "formats/test_sparse.h"
#include "kernels/each_target.h"
#include "linear/layouts.h"
#include "linear/stored.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kOut = 75, kIn = 160, kTokens = 3;

std::vector<float> random_values(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

// A pruned matrix, and the same one as blocks.
struct Example {
  explicit Example(DType dtype, Zeros zeros = Zeros::kHalf)
      : m(dtype, kOut, kIn, zeros, 32, 5),
        bias(random_values(kOut, 2)),
        x(random_values(kTokens * kIn, 3)),
        X(x.data(), kTokens, kIn),
        W(LinearId{}, compute, m.rows, bias),
        dense(LinearId{}, m.dense, WeightView(), bias, layouts) {}
  void expect_same(std::span<const float> got, std::span<const float> want) const {
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 3e-5f * (1 + std::fabs(want[i]))) << i;
  }

  Compute compute{2};
  PrunedMatrix m;
  std::vector<float> bias, x;
  MatView<const float> X;
  std::vector<TokenTraits> tokens{kTokens};
  Layouts layouts;
  Sparse W;
  Stored dense;
};

constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kF16};

TEST(SparseMatrix, GivesTheRowsThatATokenWantsOnEveryTarget) {
  const Rows own[] = {Rows::all(kOut / 3), Rows::of({0, 10, 24}, kOut / 3), Rows::of({}, kOut / 3)};
  for (const DType dtype : kTypes) {
    Example e(dtype);
    std::vector<float> got(kTokens * kOut), want(got);
    for_each_target([&] {
      for (const RowSet& out : {RowSet{}, RowSet{own, 3}}) {
        e.W.dot(e.compute, e.tokens, e.X, out, MatView<float>(got.data(), kTokens, kOut));
        e.dense.dot(e.compute, e.tokens, e.X, out, MatView<float>(want.data(), kTokens, kOut));
        e.expect_same(got, want);
      }
    });
  }
}

TEST(SparseMatrix, LeavesInputsOutOnEveryTarget) {
  const Rows own[] = {Rows::of({1, 2, 39}, kIn / 4), Rows::all(kIn / 4), Rows::of({}, kIn / 4)};
  for (const DType dtype : kTypes) {
    Example e(dtype);
    std::vector<float> got(kTokens * kOut), want(got);
    for_each_target([&] {
      e.W.add(e.compute, e.tokens, e.X, {own, 4}, MatView<float>(got.data(), kTokens, kOut));
      e.dense.add(e.compute, e.tokens, e.X, {own, 4}, MatView<float>(want.data(), kTokens, kOut));
      e.expect_same(got, want);
    });
  }
}

TEST(SparseMatrix, SaysItsNumbersAndReadsFewerBytes) {
  for (const DType dtype : kTypes)
    for (const Zeros zeros : {Zeros::kTwoOfFour, Zeros::kMost}) {
      Example e(dtype, zeros);
      EXPECT_LT(e.W.bytes(), e.dense.bytes() * 8 / 10 + 64 * 5) << name_of(dtype);
      const Values values(e.compute, e.W);
      std::vector<float> got(kIn), want(kIn);
      for (size_t r = 0; r < kOut; ++r) {
        codec(values.rows().dtype).decode(values.rows().row(r), got.data(), kIn);
        codec(dtype).decode(e.m.dense.row(r), want.data(), kIn);
        ASSERT_EQ(got, want) << r;
      }
    }
}

TEST(SparseMatrix, TokensThatAskForTheirBitsAloneGetThem) {
  for (const DType dtype : kTypes) {
    Example e(dtype);
    e.tokens[1].as_alone = true;
    std::vector<float> together(kTokens * kOut), alone(kOut);
    e.W.dot(e.compute, e.tokens, e.X, {}, MatView<float>(together.data(), kTokens, kOut));
    e.W.dot(e.compute, Tokens(e.tokens).subspan(1, 1), e.X.row_range(1, 1), {}, MatView<float>(alone.data(), 1, kOut));
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + kOut));
  }
}

}  // namespace
}  // namespace hunch
