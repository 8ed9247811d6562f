#include "measure/unit_sets.h"

#include <gtest/gtest.h>

namespace hunch {
namespace {

TEST(UnitSets, UnionsOfNeighboursAndOfStrides) {
  UnitSets sets(4, 70);  // two words
  sets.insert(0, 0);
  sets.insert(0, 69);
  sets.insert(1, 69);
  sets.insert(2, 64);
  sets.insert(2, 0);
  EXPECT_TRUE(sets.contains(0, 69));
  EXPECT_FALSE(sets.contains(3, 69));
  const std::vector<size_t> pairs = {0, 2}, all = {0}, each = {0, 1, 2, 3};
  EXPECT_DOUBLE_EQ(sets.mean_union(each, 1, 1), (2 + 1 + 2 + 0) / 4.0 / 70);
  EXPECT_DOUBLE_EQ(sets.mean_union(pairs, 2, 1), (2 + 2) / 2.0 / 70);
  const std::vector<size_t> strided = {0, 1};  // {0, 2} and {1, 3}
  EXPECT_DOUBLE_EQ(sets.mean_union(strided, 2, 2), (3 + 1) / 2.0 / 70);
  EXPECT_DOUBLE_EQ(sets.mean_union(all, 4, 1), 3.0 / 70);
  EXPECT_EQ(sets.mean_union({}, 4, 1), 0.0);
}

}  // namespace
}  // namespace hunch
