#include "select/selection.h"

#include <gtest/gtest.h>

namespace hunch {

TEST(Selection, SaysWhatItHolds) {
  const Selection all = Selection::all(10);
  EXPECT_TRUE(all.is_all());
  EXPECT_EQ(all.size(), 10u);
  EXPECT_EQ(all.density(), 1.0);
  EXPECT_TRUE(all.rows().empty());
  const Selection some = Selection::of({1, 4, 9}, 12);
  EXPECT_FALSE(some.is_all());
  EXPECT_EQ(some.size(), 3u);
  EXPECT_EQ(some.density(), 0.25);
  EXPECT_EQ(some.rows()[2], 9u);
  EXPECT_EQ(Selection::all(0).density(), 1.0);
}

TEST(Selection, RefillKeepsItsMemory) {
  Selection selection = Selection::of({0, 1, 2, 3}, 4);
  const uint32_t* memory = selection.rows().data();
  selection.refill_all(7);
  EXPECT_TRUE(selection.is_all());
  EXPECT_EQ(selection.size(), 7u);
  selection.refill(9).push_back(8);
  EXPECT_EQ(selection.rows().data(), memory);
  EXPECT_EQ(selection.n_total(), 9u);
  EXPECT_EQ(selection.size(), 1u);
}

#ifndef NDEBUG
TEST(SelectionDeathTest, ChecksOrderAndRangeInDebugBuilds) {
  EXPECT_DEATH(Selection::of({1, 1}, 4), "");
  EXPECT_DEATH(Selection::of({2, 1}, 4), "");
  EXPECT_DEATH(Selection::of({1, 4}, 4), "");
}
#endif

}  // namespace hunch
