#include "select/attention_patterns.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace hunch {
namespace {

std::vector<uint32_t> slots_of(const auto& pattern, size_t p, PatternPlace place = {}) {
  std::vector<uint32_t> slots;
  pattern.append(place, p, slots);
  EXPECT_TRUE(std::is_sorted(slots.begin(), slots.end()));
  EXPECT_EQ(std::set<uint32_t>(slots.begin(), slots.end()).size(), slots.size()) << "one is there twice";
  EXPECT_EQ(slots.back(), p) << "a token sees itself, and none after it";
  return slots;
}

TEST(AttentionPatterns, LongformerIsAWindowAndTheFirst) {
  for (size_t window : {1, 5, 32})
    for (size_t n_global : {0, 1, 7})
      for (size_t p = 0; p < 100; ++p) {
        std::vector<uint32_t> want;
        for (size_t j = 0; j <= p; ++j)
          if (j < n_global || p - j < window) want.push_back(uint32_t(j));
        EXPECT_EQ(slots_of(LongformerPattern{window, n_global}, p), want);
      }
}

TEST(AttentionPatterns, StridedIsItsTwoHeadsTogether) {
  for (size_t stride : {1, 3, 16})
    for (size_t p = 0; p < 100; ++p) {
      std::vector<uint32_t> want;
      for (size_t j = 0; j <= p; ++j)
        if (p - j < stride || (p - j) % stride == 0) want.push_back(uint32_t(j));
      EXPECT_EQ(slots_of(StridedPattern{stride}, p), want);
    }
}

TEST(AttentionPatterns, BigBirdReadsTheFirstBlocksTheLastAndSomeBetween) {
  const BigBirdPattern pattern{4, 2, 3, 2, 7};
  std::set<std::vector<uint32_t>> drawn_by_place;
  for (size_t layer = 0; layer < 3; ++layer)
    for (size_t head = 0; head < 2; ++head)
      for (size_t p = 0; p < 200; ++p) {
        const std::vector<uint32_t> slots = slots_of(pattern, p, {layer, head});
        const size_t own = p / 4;
        std::set<uint32_t> between;  // blocks
        for (const uint32_t j : slots) {
          const size_t block = j / 4;
          if (block >= 2 && block + 3 <= own) between.insert(uint32_t(block));
        }
        const size_t n_between = own >= 5 ? own - 4 : 0;
        EXPECT_EQ(between.size(), std::min<size_t>(2, n_between)) << p;
        size_t n = p % 4 + 1;
        for (size_t block = 0; block < own; ++block)
          n += 4 * (block < 2 || block + 3 > own || between.contains(uint32_t(block)));
        EXPECT_EQ(slots.size(), n) << "whole blocks";
        // The queries of a block share it.
        if (p % 4) {
          std::vector<uint32_t> before = slots_of(pattern, p - 1, {layer, head});
          before.push_back(uint32_t(p));
          EXPECT_EQ(slots, before);
        }
        if (p == 199) drawn_by_place.insert({between.begin(), between.end()});
      }
  EXPECT_GT(drawn_by_place.size(), 3u) << "each layer and head has its own";
}

TEST(AttentionPatterns, EveryBlockBetweenIsDrawnAsOften) {
  std::vector<size_t> times(60);
  for (size_t layer = 0; layer < 20000; ++layer)
    for (const uint32_t j : slots_of(BigBirdPattern{1, 1, 1, 3, 1}, 59, {layer, 0})) ++times[j];
  for (size_t j = 1; j < 59; ++j) EXPECT_NEAR(double(times[j]), 20000 * 3 / 58.0, 160) << j;  // five deviations
}

}  // namespace
}  // namespace hunch
