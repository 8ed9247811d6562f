#include "select/vocab_screen.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace hunch {
namespace {

constexpr size_t kIn = 48, kRank = 4, kVocab = 1000;

// The first kRank axes are the directions; rows have a small part outside them.
struct Vocabulary {
  Vocabulary() : W(kVocab * kIn), in(kRank * kIn), out(kVocab * kRank) {
    std::mt19937 rng(1);
    std::normal_distribution<float> normal;
    for (size_t r = 0; r < kRank; ++r) in[r * kIn + r] = 1;
    weights.outside.resize(kVocab);
    weights.inside.assign(kVocab, 1e-6f);
    for (size_t i = 0; i < kVocab; ++i) {
      double rest = 0;
      for (size_t c = 0; c < kIn; ++c) {
        W[i * kIn + c] = normal(rng) * (c < kRank ? 1.0f : 0.02f);
        if (c >= kRank) rest += double(W[i * kIn + c]) * W[i * kIn + c];
      }
      std::copy_n(&W[i * kIn], kRank, &out[i * kRank]);
      weights.outside[i] = float(std::sqrt(rest));
    }
    weights.W_in = weight_view({in.data(), kRank, kIn});
    weights.W_out = weight_view({out.data(), kVocab, kRank});
    weights.margin = 1;  // with whole norms for deviations: Cauchy and Schwarz's bound
  }
  std::vector<float> input(uint32_t seed, float outside) const {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    std::vector<float> x(kIn);
    for (size_t c = 0; c < kIn; ++c) x[c] = normal(rng) * (c < kRank ? 1.0f : outside);
    return x;
  }
  float exact(size_t i, std::span<const float> x) const {
    double sum = 0;
    for (size_t c = 0; c < kIn; ++c) sum += double(W[i * kIn + c]) * x[c];
    return float(sum);
  }

  std::vector<float> W, in, out;
  ScreenWeights weights;
};

TEST(VocabScreen, TheBestRowIsOnTheList) {
  const Vocabulary vocabulary;
  const VocabScreen screen(vocabulary.weights);
  Compute compute(2);
  Rows shortlist;
  std::vector<float> logits(kVocab), bias(kVocab);
  for (size_t i = 0; i < kVocab; ++i) bias[i] = float(i % 7) * 0.1f;
  size_t listed = 0, misled = 0, given_up = 0;
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    const std::vector<float> x = vocabulary.input(seed, 0.3f);
    screen.guess(compute, x, bias, logits, shortlist);
    if (shortlist.is_all()) {
      ++given_up;
      continue;
    }
    size_t best = 0;
    for (size_t i = 0; i < kVocab; ++i) {
      if (vocabulary.exact(i, x) + bias[i] > vocabulary.exact(best, x) + bias[best]) best = i;
      ASSERT_NEAR(logits[i], vocabulary.exact(i, x) + bias[i], vocabulary.weights.outside[i] * 10);
    }
    ASSERT_TRUE(std::ranges::binary_search(shortlist.ids(), uint32_t(best)));
    listed += shortlist.size();
    misled += size_t(std::ranges::max_element(logits) - logits.begin()) != best;
  }
  EXPECT_LT(given_up, 20u);
  EXPECT_LT(listed, 200 * 60u);
  EXPECT_GT(misled, 0u) << "without its bound the guess alone would have done";
}

TEST(VocabScreen, GivesUpWhereItKnowsTooLittle) {
  const Vocabulary vocabulary;
  const VocabScreen screen(vocabulary.weights);
  Compute compute(1);
  Rows shortlist = Rows::of({1}, kVocab);
  std::vector<float> logits(kVocab);
  screen.guess(compute, vocabulary.input(1, 100), {}, logits, shortlist);
  EXPECT_TRUE(shortlist.is_all());
  std::vector<float> x = vocabulary.input(1, 0.1f);
  x[0] = std::numeric_limits<float>::quiet_NaN();
  screen.guess(compute, x, {}, logits, shortlist);
  EXPECT_TRUE(shortlist.is_all());
}

TEST(VocabScreen, CountsItsBytes) {
  const Vocabulary vocabulary;
  EXPECT_EQ(VocabScreen(vocabulary.weights).bytes(), (kRank * kIn + kVocab * kRank + 2 * kVocab) * sizeof(float));
}

}  // namespace
}  // namespace hunch
