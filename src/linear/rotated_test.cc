#include "linear/rotated.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/each_target.h"
#include "kernels/hadamard.h"
#include "linear/layouts.h"
#include "linear/stored.h"

namespace hunch {
namespace {

constexpr size_t kOut = 37, kIn = 192, kTokens = 3;  // rotated in three pieces of 64

std::vector<float> normal(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

struct Example {
  explicit Example(DType dtype) : blocks(kOut * row_bytes(dtype, kIn)), plain(normal(kOut * kIn, 1)) {
    const size_t stride = row_bytes(dtype, kIn);
    std::vector<float> row(kIn);
    for (size_t r = 0; r < kOut; ++r) {
      const std::span<float> own = std::span(plain).subspan(r * kIn, kIn);
      std::ranges::copy(own, row.begin());
      ref::hadamard(row, 64);
      info(dtype).encode(row.data(), &blocks[r * stride], kIn);
    }
    W = std::make_unique<Rotated>(std::make_unique<Stored>(
        LinearId{}, WeightView{dtype, blocks.data(), kOut, kIn, stride}, WeightView(), bias, layouts));
    dense = std::make_unique<Stored>(LinearId{}, weight_view(MatView<const float>(plain.data(), kOut, kIn)),
                                     WeightView(), bias, layouts);
  }

  Compute compute{2};
  std::vector<std::byte> blocks;
  std::vector<float> plain, bias = normal(kOut, 2), x = normal(kTokens * kIn, 3);
  MatView<const float> X{x.data(), kTokens, kIn};
  std::vector<TokenTraits> tokens{kTokens};
  Layouts layouts;
  std::unique_ptr<Linear> W, dense;
};

TEST(Rotated, MultipliesAsThePlainMatrixOnEveryTarget) {
  const Rows outputs[] = {Rows::all(kOut), Rows::of({0, 10, 36}, kOut), Rows::of({}, kOut)};
  const Rows inputs[] = {Rows::of({1, 2, 47}, kIn / 4), Rows::all(kIn / 4), Rows::of({}, kIn / 4)};
  Example e(DType::kF32);
  std::vector<float> got(kTokens * kOut), want(got);
  for_each_target([&] {
    const auto expect_same = [&] {
      for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4f) << i;
    };
    const MatView<float> to(got.data(), kTokens, kOut), wanted(want.data(), kTokens, kOut);
    for (const RowSet& out : {RowSet{}, RowSet{outputs, 1}}) {
      e.W->dot(e.compute, e.tokens, e.X, out, to);
      e.dense->dot(e.compute, e.tokens, e.X, out, wanted);
      expect_same();
    }
    e.W->add(e.compute, e.tokens, e.X, {inputs, 4}, to);
    e.dense->add(e.compute, e.tokens, e.X, {inputs, 4}, wanted);
    expect_same();
  });
}

TEST(Rotated, SaysTheNumbersOfThePlainMatrix) {
  Example e(DType::kQ8_0);
  std::vector<float> got(kOut * kIn);
  e.W->decode(e.compute, MatView<float>(got.data(), kOut, kIn));
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], e.plain[i], 0.05f) << i;
  EXPECT_NE(e.W->factor(Axis::kOut).stored(), nullptr) << "outputs are copied from what is beneath";
  EXPECT_EQ(e.W->factor(Axis::kIn).stored(), nullptr);
  EXPECT_FALSE(e.W->made_into().empty());
}

// The point of it: inputs of which one is a hundred times the others lose little to int8.
TEST(Rotated, AnOutlierAmongTheInputsCostsLessWhereTheyAreRounded) {
  Example rotated(DType::kQ8_0);
  for (size_t t = 0; t < kTokens; ++t) rotated.x[t * kIn + 17] = 300;
  std::vector<std::byte> blocks(kOut * row_bytes(DType::kQ8_0, kIn));
  for (size_t r = 0; r < kOut; ++r)
    info(DType::kQ8_0).encode(&rotated.plain[r * kIn], &blocks[r * row_bytes(DType::kQ8_0, kIn)], kIn);
  const Stored as_is(LinearId{}, WeightView{DType::kQ8_0, blocks.data(), kOut, kIn, row_bytes(DType::kQ8_0, kIn)},
                     WeightView(), rotated.bias, rotated.layouts);
  std::vector<float> want(kTokens * kOut), got(want);
  const auto error_of = [&](const Linear& W) {
    W.dot(rotated.compute, rotated.tokens, rotated.X, {}, MatView<float>(got.data(), kTokens, kOut));
    double error = 0;
    for (size_t i = 0; i < got.size(); ++i) error += std::pow(double(got[i]) - want[i], 2);
    return std::sqrt(error);
  };
  rotated.dense->dot(rotated.compute, rotated.tokens, rotated.X, {}, MatView<float>(want.data(), kTokens, kOut));
  EXPECT_LT(error_of(*rotated.W), 0.7 * error_of(as_is));
}

}  // namespace
}  // namespace hunch
