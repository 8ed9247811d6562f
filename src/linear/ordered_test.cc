#include "linear/ordered.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/each_target.h"
#include "linear/layouts.h"
#include "linear/stored.h"

namespace hunch {
namespace {

constexpr size_t kOut = 75, kIn = 192, kTokens = 3;

std::vector<float> normal(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

// Blocks of a matrix whose inputs stand in a random order, and the same numbers as plain f32 in the model's.
struct Example {
  explicit Example(DType dtype)
      : order(kIn), bias(normal(kOut, 2)), x(normal(kTokens * kIn, 3)), X(x.data(), kTokens, kIn) {
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), std::mt19937(4));
    const size_t stride = row_bytes(dtype, kIn);
    blocks.resize(kOut * stride);
    plain.resize(kOut * kIn);
    std::vector<float> row(kIn);
    for (size_t r = 0; r < kOut; ++r) {
      info(dtype).encode(normal(kIn, 10 + uint32_t(r)).data(), &blocks[r * stride], kIn);
      info(dtype).decode(&blocks[r * stride], row.data(), kIn);
      for (size_t j = 0; j < kIn; ++j) plain[r * kIn + order[j]] = row[j];
    }
    W = std::make_unique<Ordered>(
        std::make_unique<Stored>(LinearId{}, WeightView{dtype, blocks.data(), kOut, kIn, stride}, WeightView(), bias,
                                 layouts),
        order);
    dense = std::make_unique<Stored>(LinearId{}, weight_view(MatView<const float>(plain.data(), kOut, kIn)),
                                     WeightView(), bias, layouts);
  }
  // Products with blocks of integers round their inputs.
  void expect_same(std::span<const float> got, std::span<const float> want, float tolerance) const {
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << i;
  }

  Compute compute{2};
  std::vector<uint32_t> order;
  std::vector<float> bias, x, plain;
  std::vector<std::byte> blocks;
  MatView<const float> X;
  std::vector<TokenTraits> tokens{kTokens};
  Layouts layouts;
  std::unique_ptr<Linear> W, dense;
};

struct Case {
  DType dtype;
  float tolerance;
};
constexpr Case kCases[] = {{DType::kQ4_0, 0.5f}, {DType::kQ8_0, 0.5f}, {DType::kNF4, 1e-4f}, {DType::kFP8, 1e-4f}};

TEST(Ordered, GivesTheRowsThatATokenWantsOnEveryTarget) {
  const Rows own[] = {Rows::all(kOut / 3), Rows::of({0, 10, 24}, kOut / 3), Rows::of({}, kOut / 3)};
  for (const Case& c : kCases) {
    Example e(c.dtype);
    std::vector<float> got(kTokens * kOut), want(got);
    for_each_target([&] {
      for (const RowSet& out : {RowSet{}, RowSet{own, 3}}) {
        e.W->dot(e.compute, e.tokens, e.X, out, MatView<float>(got.data(), kTokens, kOut));
        e.dense->dot(e.compute, e.tokens, e.X, out, MatView<float>(want.data(), kTokens, kOut));
        e.expect_same(got, want, c.tolerance);
      }
    });
  }
}

TEST(Ordered, LeavesInputsOutOnEveryTarget) {
  const Rows own[] = {Rows::of({1, 2, 47}, kIn / 4), Rows::all(kIn / 4), Rows::of({}, kIn / 4)};
  for (const Case& c : kCases) {
    Example e(c.dtype);
    std::vector<float> got(kTokens * kOut), want(got);
    for_each_target([&] {
      e.W->add(e.compute, e.tokens, e.X, {own, 4}, MatView<float>(got.data(), kTokens, kOut));
      e.dense->add(e.compute, e.tokens, e.X, {own, 4}, MatView<float>(want.data(), kTokens, kOut));
      e.expect_same(got, want, c.tolerance);
    });
  }
}

TEST(Ordered, SaysItsNumbersInTheModelsOrder) {
  Example e(DType::kQ4_0);
  std::vector<float> got(kOut * kIn);
  e.W->decode(e.compute, MatView<float>(got.data(), kOut, kIn));
  EXPECT_EQ(got, e.plain);
  EXPECT_EQ(e.W->bytes(), kOut * row_bytes(DType::kQ4_0, kIn) + kIn * 4);
  // Whoever copies its outputs gets the blocks; its inputs are no one's.
  EXPECT_NE(e.W->factor(Axis::kOut).stored(), nullptr);
  EXPECT_EQ(e.W->factor(Axis::kIn).stored(), nullptr);
}

TEST(Ordered, TokensThatAskForTheirBitsAloneGetThem) {
  for (const Case& c : kCases) {
    Example e(c.dtype);
    e.tokens[1].as_alone = true;
    std::vector<float> together(kTokens * kOut), alone(kOut);
    e.W->dot(e.compute, e.tokens, e.X, {}, MatView<float>(together.data(), kTokens, kOut));
    e.W->dot(e.compute, Tokens(e.tokens).subspan(1, 1), e.X.row_range(1, 1), {}, MatView<float>(alone.data(), 1, kOut));
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + kOut));
  }
}

}  // namespace
}  // namespace hunch
