#include "base/rows.h"

#include <gtest/gtest.h>

namespace hunch {

TEST(Rows, SaysWhatItHolds) {
  const Rows all = Rows::all(10);
  EXPECT_TRUE(all.is_all());
  EXPECT_EQ(all.size(), 10u);
  EXPECT_EQ(all.density(), 1.0);
  EXPECT_TRUE(all.ids().empty());
  const Rows some = Rows::of({1, 4, 9}, 12);
  EXPECT_FALSE(some.is_all());
  EXPECT_EQ(some.size(), 3u);
  EXPECT_EQ(some.density(), 0.25);
  EXPECT_EQ(some.ids()[2], 9u);
  EXPECT_EQ(Rows::all(0).density(), 1.0);
}

TEST(Rows, AreWalkedThroughInOrder) {
  const auto walked = [](const Rows& rows) {
    std::vector<size_t> seen;
    rows.for_each([&](size_t i) { seen.push_back(i); });
    return seen;
  };
  EXPECT_EQ(walked(Rows::of({1, 4, 6}, 9)), (std::vector<size_t>{1, 4, 6}));
  EXPECT_EQ(walked(Rows::all(3)), (std::vector<size_t>{0, 1, 2}));
  EXPECT_EQ(walked(Rows::of({}, 3)), std::vector<size_t>());
}

TEST(Rows, RefillKeepsItsMemory) {
  Rows selection = Rows::of({0, 1, 2, 3}, 4);
  const uint32_t* memory = selection.ids().data();
  selection.refill_all(7);
  EXPECT_TRUE(selection.is_all());
  EXPECT_EQ(selection.size(), 7u);
  selection.refill(9).push_back(8);
  EXPECT_EQ(selection.ids().data(), memory);
  EXPECT_EQ(selection.n_total(), 9u);
  EXPECT_EQ(selection.size(), 1u);
}

#ifndef NDEBUG
TEST(RowsDeathTest, ChecksOrderAndRangeInDebugBuilds) {
  EXPECT_DEATH(Rows::of({1, 1}, 4), "");
  EXPECT_DEATH(Rows::of({2, 1}, 4), "");
  EXPECT_DEATH(Rows::of({1, 4}, 4), "");
}
#endif

}  // namespace hunch
