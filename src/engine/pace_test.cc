#include "engine/pace.h"

#include <gtest/gtest.h>

#include "engine/ngram_drafter.h"

namespace hunch {
namespace {

PassCosts costs(double single, double per_token) {
  PassCosts c;
  for (size_t n : {1, 5, 9, 17}) c.observe(n, single + double(n - 1) * per_token);
  return c;
}

TEST(PassCosts, InterpolatesAndFollows) {
  PassCosts c;
  EXPECT_EQ(c.seconds(3), 0);
  EXPECT_FALSE(c.knows_single());
  c.observe(1, 1.0);
  EXPECT_GT(c.seconds(5), 1.0);  // assumed dearer
  c.observe(5, 2.0);
  EXPECT_DOUBLE_EQ(c.seconds(3), 1.5);
  for (int i = 0; i < 100; ++i) c.observe(5, 3.0);
  EXPECT_NEAR(c.seconds(5), 3.0, 1e-3);
  c.observe(5, 1000.0);  // a pause of the machine
  EXPECT_LT(c.seconds(5), 5.0);
}

// Free guesses that are mostly right are worth many tokens; wrong ones none; in between, a few.
TEST(Pace, DraftsAsManyAsPay) {
  const PassCosts c = costs(1.0, 0.05);
  const auto n_for = [&](double acceptance) {
    return Pace(c, 0, [&](size_t) { return acceptance; }).n_worth_drafting(3, 16);
  };
  EXPECT_GE(n_for(0.97), 12u);
  EXPECT_GE(n_for(0.6), 2u);
  EXPECT_LE(n_for(0.6), 8u);
  EXPECT_EQ(n_for(0.03), 0u);
  EXPECT_EQ(Pace(c, 7, [](size_t) { return 0.0; }).n_worth_drafting(3, 16), 7u);  // fixed
  EXPECT_EQ(Pace(c, 7, [](size_t) { return 0.0; }).n_worth_drafting(3, 2), 2u);
}

TEST(Pace, StopsWhenStepsCostTooMuchAndTriesAgainLater) {
  const PassCosts c = costs(1.0, 0.05);
  Pace pace(c, 0, [](size_t level) { return (double(level) + 0.5) / 10; });
  for (int i = 0; i < 20; ++i) {  // a draft step costs as much as a pass, and half the guesses are wrong
    pace.judge(5, i % 2);
    pace.turn(2, 2.0, 3.1, 2);
  }
  EXPECT_EQ(pace.n_worth_drafting(Pace::kUnknown, 16), 0u);
  size_t n_rests = 0;
  while (pace.n_worth_drafting(Pace::kUnknown, 16) == 0 && n_rests < 1000) pace.rest(), ++n_rests;
  EXPECT_GT(n_rests, 8u);
  EXPECT_LE(n_rests, 256u);
  for (int i = 0; i < 60; ++i) {  // now they are cheap and right
    pace.judge(9, true);
    pace.turn(4, 0.4, 1.6, 5);
  }
  EXPECT_GE(pace.n_worth_drafting(Pace::kUnknown, 16), 4u);
  EXPECT_TRUE(pace.worth_verifying(0.9, 1));
  EXPECT_FALSE(pace.worth_verifying(0.01, 1));
}

TEST(Pace, ForgivesAColdFirstStep) {
  const PassCosts c = costs(1.0, 0.05);
  Pace pace(c, 0, [](size_t) { return 0.95; });
  pace.turn(3, 6.0, 7.2, 4);  // pages that nothing had touched
  for (int i = 0; i < 3; ++i) {
    pace.judge(9, true);
    pace.turn(3, 0.9, 2.1, 4);
  }
  EXPECT_GE(pace.n_worth_drafting(9, 16), 3u);
}

class NgramTest : public ::testing::Test {
 protected:
  std::vector<int32_t> draft(const std::vector<int32_t>& text, size_t n) {
    Draft d;
    drafter_.draft(text, text.size(), n, pace_, d);
    evidence_ = d.evidence;
    return d.ids;
  }
  PassCosts costs_;
  Pace pace_{costs_, 16, [](size_t) { return 0.5; }};
  NgramDrafter drafter_;
  std::vector<uint8_t> evidence_;
};

TEST_F(NgramTest, FollowsTheLongestThenTheLatestEnding) {
  EXPECT_EQ(draft({1}, 4), std::vector<int32_t>());
  EXPECT_EQ(draft({1, 2, 3, 4}, 4), std::vector<int32_t>());
  EXPECT_EQ(draft({5, 1, 2, 7, 9, 1, 2, 8, 5, 1, 2}, 2), (std::vector<int32_t>{7, 9}));  // "5 1 2" beats "1 2"
  EXPECT_EQ(evidence_, (std::vector<uint8_t>{3, 3}));
  EXPECT_EQ(draft({1, 2, 7, 3, 1, 2, 8, 4, 1, 2}, 2), (std::vector<int32_t>{8, 4}));
}

TEST_F(NgramTest, GoesRoundInALoop) {
  EXPECT_EQ(draft({1, 2, 3, 1, 2, 3, 1, 2}, 7), (std::vector<int32_t>{3, 1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(draft({4, 4, 4}, 3), (std::vector<int32_t>{4, 4, 4}));
}

TEST_F(NgramTest, ForgetsATextThatWasTakenBack) {
  draft({1, 2, 3, 4, 5, 6, 1, 2}, 2);
  EXPECT_EQ(draft({1, 2, 8, 9, 1, 2}, 2), (std::vector<int32_t>{8, 9}));
  EXPECT_EQ(draft({3, 4, 1, 2}, 2), std::vector<int32_t>());
}

}  // namespace
}  // namespace hunch
