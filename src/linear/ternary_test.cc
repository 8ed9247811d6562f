#include "linear/ternary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "kernels/each_target.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kOut = 300, kIn = 200, kTokens = 3;

struct Example {
  Example() : weights(kOut * kIn), bias(kOut), x(kTokens * kIn), A(x.data(), kTokens, kIn) {
    std::mt19937 rng(3);
    std::normal_distribution<float> normal;
    for (float& w : weights) w = float(int(rng() % 3) - 1);
    for (float& b : bias) b = normal(rng);
    for (float& v : x) v = rng() % 4 ? normal(rng) : 0;
  }
  Ternary make(bool round, bool by_input) {
    return {LinearId{},
            compute,
            weight_view({weights.data(), kOut, kIn}),
            bias,
            {.scale = 0.25f, .round_inputs = round, .by_input = by_input},
            "w"};
  }
  // In double, of the inputs that a token has.
  double product(size_t t, size_t r, bool round, const Rows& in) const {
    double max = 1e-5, sum = 0;
    in.for_each([&](size_t i) { max = std::max(max, double(std::abs(A.row(t)[i]))); });
    in.for_each([&](size_t i) {
      const double v = A.row(t)[i];
      sum += double(weights[r * kIn + i]) * (round ? std::nearbyint(v * 127 / max) * max / 127 : v);
    });
    return 0.25 * sum + double(bias[r]);
  }

  Compute compute{2};
  std::vector<float> weights, bias, x;
  MatView<const float> A;
  std::vector<TokenTraits> tokens{kTokens};
};

TEST(TernaryMatrix, GivesTheRowsThatATokenWantsOnEveryTarget) {
  Example e;
  std::vector<float> y(kTokens * kOut);
  const MatView<float> Y(y.data(), kTokens, kOut);
  const Rows own[] = {Rows::all(kOut / 3), Rows::of({0, 40, 99}, kOut / 3), Rows::of({}, kOut / 3)};
  for_each_target([&] {
    for (const bool round : {false, true}) {
      const Ternary W = e.make(round, false);
      for (const RowSet& out : {RowSet{}, RowSet{own, 3}}) {
        W.dot(e.compute, e.tokens, e.A, out, Y);
        for (size_t t = 0; t < kTokens; ++t)
          for (size_t r = 0; r < kOut; ++r) {
            const bool wanted = out.own.empty() || t == 0 || (t == 1 && (r / 3 == 0 || r / 3 == 40 || r / 3 == 99));
            ASSERT_NEAR(Y.row(t)[r], wanted ? e.product(t, r, round, Rows::all(kIn)) : 0, 1e-4) << t << " " << r;
          }
      }
    }
  });
}

TEST(TernaryMatrix, LeavesInputsOutOnEveryTarget) {
  Example e;
  std::vector<float> y(kTokens * kOut), dense(kTokens * kOut);
  const MatView<float> Y(y.data(), kTokens, kOut), Dense(dense.data(), kTokens, kOut);
  std::vector<Rows> some(kTokens), nonzero(kTokens);
  for (size_t t = 0; t < kTokens; ++t) {
    auto &ids = some[t].refill(kIn), &live = nonzero[t].refill(kIn);
    for (uint32_t i = 0; i < kIn; ++i) {
      if (i % (t + 2) == 0) ids.push_back(i);
      if (e.A.row(t)[i] != 0) live.push_back(i);
    }
  }
  for_each_target([&] {
    for (const bool round : {false, true})
      for (const bool by_input : {false, true}) {
        const Ternary W = e.make(round, by_input);
        W.add(e.compute, e.tokens, e.A, {some}, Y);
        for (size_t t = 0; t < kTokens; ++t)
          for (size_t r = 0; r < kOut; ++r)
            ASSERT_NEAR(Y.row(t)[r], e.product(t, r, round, some[t]), 1e-4) << t << " " << r;
        // Sums of integers are the same bits whatever zeros are left out.
        W.add(e.compute, e.tokens, e.A, {nonzero}, Y);
        W.dot(e.compute, e.tokens, e.A, {}, Dense);
        if (round) {
          ASSERT_EQ(y, dense);
        }
      }
  });
}

TEST(TernaryMatrix, SaysItsNumbersAndHoldsThemInTwoBits) {
  Example e;
  const Ternary W = e.make(true, false);
  EXPECT_EQ(W.bytes(), kOut * 64u);  // 200 weights in the 64 bytes of 256
  const Values values(e.compute, W);
  std::vector<float> row(kIn);
  for (size_t r : {size_t{0}, kOut - 1}) {
    codec(values.rows().dtype).decode(values.rows().row(r), row.data(), kIn);
    for (size_t i = 0; i < kIn; ++i) ASSERT_EQ(row[i], 0.25f * e.weights[r * kIn + i]);
  }
}

TEST(TernaryMatrix, RefusesOtherWeights) {
  Example e;
  e.weights[77] = 0.5f;
  try {
    e.make(true, false);
    FAIL() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFormat);
    EXPECT_NE(std::string(error.what()).find("found 0.5"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hunch
