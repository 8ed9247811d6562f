#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "formats/format.h"
#include "kernels/each_target.h"
#include "kernels/sign_bits.h"
#include "select/expert_predictors.h"
#include "select/hot_set.h"
#include "select/linear_predictor.h"
#include "select/low_rank_predictor.h"
#include "select/sign_predictor.h"
#include "select/threshold.h"

namespace hunch {
namespace {

std::vector<uint32_t> rows_of(const Rows& s) { return {s.ids().begin(), s.ids().end()}; }

TEST(SelectAbove, TakesWhatLiesAboveOnEveryTarget) {
  for_each_target([] {
    std::mt19937 rng(1);
    std::normal_distribution<float> normal;
    Rows out;
    for (size_t n : {0, 1, 15, 16, 17, 1023, 1024, 1025, 3000}) {
      std::vector<float> score(n);
      for (float& s : score) s = std::round(normal(rng) * 4) / 4;
      for (float threshold : {-10.0f, -0.25f, 0.0f, 0.5f, 10.0f}) {
        std::vector<uint32_t> want;
        for (uint32_t i = 0; i < n; ++i)
          if (score[i] > threshold) want.push_back(i);
        select_above(score, threshold, out);
        EXPECT_EQ(rows_of(out), want);
        EXPECT_EQ(out.n_total(), n);
      }
    }
  });
}

TEST(SelectAbove, KeepsNaNAndNothingAboveInfinity) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  Rows out;
  select_above(std::vector<float>{1, nan, -inf, inf}, -inf, out);
  EXPECT_EQ(rows_of(out), (std::vector<uint32_t>{0, 1, 3}));
  select_above(std::vector<float>{1, nan, -inf, inf}, inf, out);
  EXPECT_EQ(rows_of(out), (std::vector<uint32_t>{1}));
}

// Scores of a two-layer classifier in double precision.
TEST(LowRankPredictor, MatchesItsFormula) {
  constexpr size_t kIn = 64, kRank = 32, kFf = 100;
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  const auto random = [&](size_t n) {
    std::vector<float> v(n);
    for (float& x : v) x = normal(rng);
    return v;
  };
  const std::vector<float> in = random(kRank * kIn), out = random(kFf * kRank), bias = random(kFf), x = random(3 * kIn);
  Compute compute(2);
  for (bool relu : {false, true}) {
    const LowRankPredictor predictor(
        {weight_view({in.data(), kRank, kIn}), weight_view({out.data(), kFf, kRank}), bias, relu});
    std::vector<float> scores(3 * kFf);
    predictor.score(compute, {x.data(), 3, kIn}, {scores.data(), 3, kFf});
    for (size_t t = 0; t < 3; ++t)
      for (size_t f = 0; f < kFf; ++f) {
        double want = bias[f];
        for (size_t r = 0; r < kRank; ++r) {
          double h = 0;
          for (size_t i = 0; i < kIn; ++i) h += double(in[r * kIn + i]) * x[t * kIn + i];
          want += out[f * kRank + r] * (relu ? std::max(h, 0.0) : h);
        }
        EXPECT_NEAR(scores[t * kFf + f], want, 2e-3);
      }
    EXPECT_EQ(predictor.bytes(), (kRank * kIn + kFf * kRank + kFf) * sizeof(float));
  }
}

TEST(LowRankPredictor, CountsTheBytesOfItsDtype) {
  std::vector<float> in(32 * 64, 0.5f), out(96 * 32, 0.25f);
  std::vector<std::byte> q_in(row_bytes(DType::kQ4_0, in.size())), q_out(row_bytes(DType::kQ8_0, out.size()));
  codec(DType::kQ4_0).encode(in.data(), q_in.data(), in.size());
  codec(DType::kQ8_0).encode(out.data(), q_out.data(), out.size());
  const LowRankPredictor predictor({{DType::kQ4_0, q_in.data(), 32, 64, row_bytes(DType::kQ4_0, 64)},
                                    {DType::kQ8_0, q_out.data(), 96, 32, row_bytes(DType::kQ8_0, 32)},
                                    std::vector<float>(96),
                                    false});
  EXPECT_EQ(predictor.bytes(), q_in.size() + q_out.size() + 96 * sizeof(float));
}

TEST(SignPredictor, CountsSignsThatDiffer) {
  constexpr size_t kIn = 70, kFf = 200;
  std::mt19937 rng(5);
  std::normal_distribution<float> normal;
  std::vector<float> W(kFf * kIn), X(3 * kIn), slope(kFf), bias(kFf), scores(3 * kFf);
  for (auto* v : {&W, &X, &slope, &bias})
    for (float& x : *v) x = normal(rng);
  std::vector<uint64_t> planes(kFf * sign_words(kIn));
  for (size_t k = 0; k < kFf; ++k)
    pack_signs(std::span(W).subspan(k * kIn, kIn), std::span(planes).subspan(k * sign_words(kIn), sign_words(kIn)));
  const SignPredictor predictor({planes.data(), kFf, kIn, slope, bias});
  Compute compute(2);
  predictor.score(compute, {X.data(), 3, kIn}, {scores.data(), 3, kFf});
  for (size_t t = 0; t < 3; ++t)
    for (size_t k = 0; k < kFf; ++k) {
      int differ = 0;
      for (size_t i = 0; i < kIn; ++i) differ += (W[k * kIn + i] < 0) != (X[t * kIn + i] < 0);
      EXPECT_FLOAT_EQ(scores[t * kFf + k], bias[k] - slope[k] * float(differ));
    }
  EXPECT_EQ(predictor.bytes(), kFf * (64 + 8));
}

TEST(LinearPredictor, MatchesItsFormula) {
  const std::vector<float> W = {1, 2, 3, -1, 0, 0.5f}, bias = {10, -1}, x = {1, 1, 2, 0, -3, 4};
  const LinearPredictor predictor(weight_view({W.data(), 2, 3}), bias);
  EXPECT_EQ(predictor.n_in(), 3u);
  EXPECT_EQ(predictor.n_out(), 2u);
  EXPECT_EQ(predictor.bytes(), 8u * sizeof(float));
  Compute compute(2);
  std::vector<float> scores(4);
  predictor.score(compute, {x.data(), 2, 3}, {scores.data(), 2, 2});
  EXPECT_EQ(scores, (std::vector<float>{19, -1, 16, 1}));
}

TEST(HotSetPredictor, IsTheSameForEveryToken) {
  const HotSetPredictor predictor({0.5f, -1, 2}, 4);
  Compute compute(1);
  std::vector<float> x(8, 1.0f), scores(6);
  predictor.score(compute, {x.data(), 2, 4}, {scores.data(), 2, 3});
  EXPECT_EQ(scores, (std::vector<float>{0.5f, -1, 2, 0.5f, -1, 2}));
}

// Ranks that have some of the units ask for those alone.
TEST(Predictors, AnyPartScoresAsTheWholeDoes) {
  constexpr size_t kIn = 64, kRank = 32, kOut = 96;
  std::mt19937 rng(5);
  std::normal_distribution<float> normal;
  const auto random = [&](size_t n) {
    std::vector<float> v(n);
    for (float& x : v) x = normal(rng);
    return v;
  };
  const std::vector<float> in = random(kRank * kIn), out = random(kOut * kRank), all = random(kOut * kIn),
                           bias = random(kOut), slope = random(kOut), x = random(2 * kIn);
  std::vector<uint64_t> planes(kOut * sign_words(kIn));
  for (size_t r = 0; r < kOut; ++r)
    pack_signs(std::span(all).subspan(r * kIn, kIn), std::span(planes).subspan(r * sign_words(kIn), sign_words(kIn)));
  const auto low_rank = std::make_shared<LowRankPredictor>(
      LowRankWeights{weight_view({in.data(), kRank, kIn}), weight_view({out.data(), kOut, kRank}), bias, true});
  const std::shared_ptr<const Predictor> predictors[] = {
      low_rank, std::make_shared<LinearPredictor>(weight_view({all.data(), kOut, kIn}), bias),
      std::make_shared<SignPredictor>(SignWeights{planes.data(), kOut, kIn, slope, bias}),
      std::make_shared<HotSetPredictor>(bias, kIn),
      std::make_shared<ExpertPredictors>(std::vector<std::shared_ptr<const Predictor>>{nullptr, low_rank})};
  Compute compute(2);
  for (const auto& predictor : predictors) {
    SCOPED_TRACE(predictor->stored_kind());
    const Predictor& whole = *predictor->of(1);
    std::vector<float> want(2 * kOut);
    whole.score(compute, {x.data(), 2, kIn}, {want.data(), 2, kOut});
    for (const auto& [first, n] : {std::pair<size_t, size_t>{0, kOut}, {32, 64}, {17, 5}, {95, 1}}) {
      const auto part = predictor->part(first, n);
      EXPECT_EQ(part->n_out(), n);
      EXPECT_EQ(part->n_in(), kIn);
      EXPECT_EQ(part->n_experts(), predictor->n_experts());
      if (part->n_experts()) {
        EXPECT_EQ(part->of(0), nullptr);
      }
      std::vector<float> got(2 * n);
      part->of(1)->score(compute, {x.data(), 2, kIn}, {got.data(), 2, n});
      for (size_t t = 0; t < 2; ++t)
        for (size_t i = 0; i < n; ++i) EXPECT_NEAR(got[t * n + i], want[t * kOut + first + i], 1e-4f);
    }
  }
}

}  // namespace
}  // namespace hunch
