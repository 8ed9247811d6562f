#include "train/pruning_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

// By hand: 0.9 - 0.8 (1 - k / 4)^3 at k = 0 .. 4.
TEST(PruningSchedule, IsTheCubicOfZhuAndGupta) {
  const PruningSchedule s{.initial = 0.1, .final = 0.9, .begin = 100, .every = 50, .n_changes = 4};
  EXPECT_EQ(scheduled_sparsity(s, 0), 0);
  EXPECT_EQ(scheduled_sparsity(s, 99), 0);
  EXPECT_NEAR(scheduled_sparsity(s, 100), 0.1, 1e-12);
  EXPECT_NEAR(scheduled_sparsity(s, 149), 0.1, 1e-12) << "until the next change";
  EXPECT_NEAR(scheduled_sparsity(s, 150), 0.9 - 0.8 * 27 / 64, 1e-12);
  EXPECT_NEAR(scheduled_sparsity(s, 200), 0.8, 1e-12);
  EXPECT_NEAR(scheduled_sparsity(s, 250), 0.9 - 0.8 / 64, 1e-12);
  EXPECT_NEAR(scheduled_sparsity(s, 300), 0.9, 1e-12);
  EXPECT_NEAR(scheduled_sparsity(s, 100000), 0.9, 1e-12);
}

TEST(PruningSchedule, RisesMostAtTheBeginning) {
  const PruningSchedule s{.final = 0.7, .begin = 7, .every = 3, .n_changes = 20};
  size_t n_changes = 0;
  double last = 0, last_rise = INFINITY;
  for (size_t step = 0; step < 100; ++step) {
    const double now = scheduled_sparsity(s, step);
    if (!changes_masks(s, step)) {
      EXPECT_EQ(now, step < s.begin ? 0 : last);
      continue;
    }
    if (++n_changes > 1) {
      EXPECT_GT(now, last);
      EXPECT_LT(now - last, last_rise);
      last_rise = now - last;
    }
    last = now;
  }
  EXPECT_EQ(n_changes, 21u);
}

TEST(PruningSchedule, RefusesWhatIsNone) {
  for (const PruningSchedule& s :
       {PruningSchedule{.initial = 0.6, .final = 0.5}, PruningSchedule{.initial = -0.1}, PruningSchedule{.final = 1},
        PruningSchedule{.final = NAN}, PruningSchedule{.every = 0}, PruningSchedule{.n_changes = 0},
        PruningSchedule{.power = 0}}) {
    EXPECT_THROW(scheduled_sparsity(s, 5), Error);
    EXPECT_THROW(changes_masks(s, 5), Error);
  }
}

}  // namespace
}  // namespace hunch
