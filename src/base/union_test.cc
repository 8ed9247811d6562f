#include "base/union.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace hunch {
namespace {

TEST(SelectUnion, IsTheSetUnion) {
  std::mt19937 rng(1);
  Rows out;
  for (size_t n_total : {1, 64, 1000, 32768, 32769, 100000})
    for (size_t n_selections : {1, 2, 7}) {
      std::set<uint32_t> want;
      std::vector<Rows> selections;
      for (size_t s = 0; s < n_selections; ++s) {
        std::set<uint32_t> ids;
        for (size_t i = 0; i < n_total / 10; ++i) ids.insert(uint32_t(rng() % n_total));
        if (s == 0) ids.insert(uint32_t(n_total - 1));
        want.insert(ids.begin(), ids.end());
        selections.push_back(Rows::of({ids.begin(), ids.end()}, n_total));
      }
      select_union(selections, out);
      EXPECT_EQ(std::vector<uint32_t>(out.ids().begin(), out.ids().end()),
                std::vector<uint32_t>(want.begin(), want.end()));
      EXPECT_EQ(out.n_total(), n_total);
    }
}

TEST(SelectUnion, WithAllIsAll) {
  Rows out;
  select_union(std::vector<Rows>{Rows::of({1}, 5), Rows::all(5)}, out);
  EXPECT_TRUE(out.is_all());
  EXPECT_EQ(out.size(), 5u);
  select_union(std::vector<Rows>{Rows::of({}, 5), Rows::of({}, 5)}, out);
  EXPECT_FALSE(out.is_all());
  EXPECT_EQ(out.size(), 0u);
}

}  // namespace
}  // namespace hunch
