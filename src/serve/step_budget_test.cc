#include "serve/step_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace hunch::serve {
namespace {

// A machine that reads the weights in `weights` seconds and computes a token in `token`, whichever takes longer.
struct Machine {
  double weights, token;
  double step(size_t n) const { return std::max(weights, token * double(n)); }
};

TEST(StepBudget, StepsWithPromptsTakeALittleMoreThanThoseWithout) {
  // A 1.1 B model in Q4_0 on two cores with AVX-512, and with AMX (README.md); 16 cores; an accelerator.
  for (const Machine m : {Machine{0.015, 0.0027}, {0.022, 0.0014}, {0.004, 0.0003}, {0.002, 0.00001}})
    for (const size_t n_decoding : {1u, 4u, 16u}) {
      StepBudget budget(256);
      EXPECT_EQ(budget.prompt_tokens(0), 256u);
      EXPECT_EQ(budget.prompt_tokens(n_decoding), 0u);
      for (size_t i = 0; i < 20; ++i) budget.note(n_decoding, 0, m.step(n_decoding));
      EXPECT_EQ(budget.prompt_tokens(n_decoding), StepBudget::kAtFirst);
      size_t n = 0;
      for (size_t i = 0; i < 40; ++i) {
        n = budget.prompt_tokens(n_decoding);
        budget.note(n_decoding, n, m.step(n_decoding + n));
      }
      EXPECT_LE(m.step(n_decoding + n), 3 * m.step(n_decoding)) << n;
      EXPECT_GE(n, StepBudget::kLeast);
      EXPECT_LE(n, 256 - n_decoding);
      // And no less than it could be.
      if (n < 256 - n_decoding && n > StepBudget::kLeast) {
        EXPECT_GE(m.step(n_decoding + n), 1.9 * m.step(n_decoding)) << n;
      }
      EXPECT_EQ(budget.prompt_tokens(0), 256u);
    }
}

TEST(StepBudget, OneSlowStepChangesLittle) {
  const Machine m{0.015, 0.0027};
  StepBudget budget(256);
  for (size_t i = 0; i < 20; ++i) budget.note(4, 0, m.step(4));
  for (size_t i = 0; i < 20; ++i) budget.note(0, 256, m.step(256));
  const size_t before = budget.prompt_tokens(4);
  budget.note(4, 0, 5);
  budget.note(4, before, 9);
  EXPECT_NEAR(double(budget.prompt_tokens(4)), double(before), 0.25 * double(before));
}

TEST(StepBudget, LearnsUnderAStreamOfPrompts) {
  const Machine m{0.015, 0.0027};
  StepBudget budget(256);
  size_t n_without = 0, n = 0;
  for (size_t i = 0; i < 20; ++i) {
    n = budget.prompt_tokens(3);
    n_without += n == 0;
    budget.note(3, n, m.step(3 + n));
  }
  EXPECT_EQ(n_without, 1u);
  EXPECT_LE(m.step(3 + n), 3 * m.step(3)) << n;
}

TEST(StepBudget, SmallLimitsHold) {
  for (const size_t step_tokens : {1u, 4u, 40u}) {
    StepBudget budget(step_tokens);
    budget.note(1, 0, 1);
    for (const size_t n_decoding : {1u, 3u, 64u}) {
      EXPECT_GE(budget.prompt_tokens(n_decoding), 1u);
      EXPECT_LE(budget.prompt_tokens(n_decoding), std::max(step_tokens, StepBudget::kLeast));
      budget.note(n_decoding, 0, 1);
      budget.note(n_decoding, 5, 2);
    }
  }
}

}  // namespace
}  // namespace hunch::serve
