#include "engine/rank_speed.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hunch {
namespace {

using Layers = std::vector<uint32_t>;

constexpr LayerWork kLayer = {.bytes = 100, .weights = 200};
constexpr RankSpeed kPlain = {.bytes_per_s = 10, .operations_per_s = 160, .memory = 0};

TEST(RankSpeed, OfALayer) {
  // 128 tokens of 100 bytes by 10 a second, and 512 of 200 weights, two operations each, by 160.
  EXPECT_DOUBLE_EQ(layer_seconds(kPlain, kLayer), 1280 + 1280);
}

TEST(RankSpeed, LayersGoWhereTheyTakeLeast) {
  RankSpeed quick = kPlain, reads = kPlain, multiplies = kPlain;
  quick.bytes_per_s *= 3;
  quick.operations_per_s *= 3;
  reads.bytes_per_s *= 1e6f;  // half of the time is left
  multiplies.operations_per_s *= 1e6f;
  const auto layers = [](std::vector<RankSpeed> speeds) { return layers_by_speed(speeds, 8, kLayer); };
  EXPECT_EQ(layers({kPlain, kPlain}), (Layers{4, 4}));
  EXPECT_EQ(layers({quick, kPlain}), (Layers{6, 2}));
  EXPECT_EQ(layers({reads, kPlain}), (Layers{5, 3}));
  EXPECT_EQ(layers({kPlain, multiplies}), (Layers{3, 5}));
  EXPECT_EQ(layers({reads, multiplies}), (Layers{4, 4}));
  EXPECT_EQ(layers({kPlain, reads, kPlain}), (Layers{2, 4, 2}));
}

TEST(RankSpeed, NoRankGetsMoreThanItHasRoomFor) {
  RankSpeed small = kPlain, large = kPlain;
  small.bytes_per_s = 1e6;
  small.memory = 350;
  large.memory = 10000;
  EXPECT_EQ(layers_by_speed(std::vector{small, large}, 8, kLayer), (Layers{3, 5}));
  large.memory = 400;
  EXPECT_THROW(layers_by_speed(std::vector{small, large}, 8, kLayer), Error);
  large.memory = 99;
  EXPECT_THROW(layers_by_speed(std::vector{small, large}, 3, kLayer), Error);
  EXPECT_THROW(layers_by_speed(std::vector{kPlain, kPlain}, 1, kLayer), Error);
}

TEST(RankSpeed, OfThisMachine) {
  const RankSpeed speed = measure_rank_speed(1);
  EXPECT_GT(speed.bytes_per_s, 1e7);
  EXPECT_GT(speed.operations_per_s, 1e7);
  EXPECT_GT(speed.memory, 0);
}

}  // namespace
}  // namespace hunch
