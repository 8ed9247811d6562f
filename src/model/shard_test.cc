#include "model/shard.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hunch {
namespace {

// Every thing belongs to one rank, in order; the parts differ by a unit at most.
TEST(Shard, PartsAreWholeUnitsAndLeaveNothingOut) {
  for (const size_t n : {1, 5, 8, 12, 100, 5632})
    for (const size_t unit : {1, 4, 32})
      for (const size_t n_ranks : {1, 2, 3, 4, 7}) {
        if (n / unit < n_ranks) continue;
        size_t end = 0, least = n, most = 0;
        for (size_t rank = 0; rank < n_ranks; ++rank) {
          const Range part = share_of(n, unit, {rank, n_ranks});
          EXPECT_EQ(part.begin, end);
          EXPECT_EQ(part.begin % unit, 0u);
          end = part.begin + part.n;
          least = std::min(least, part.n);
          most = std::max(most, part.n);
        }
        EXPECT_EQ(end, n);
        EXPECT_LE(most - least, unit + n % unit) << n << " in " << unit << " among " << n_ranks;
      }
}

LayerConfig layer_of(size_t n_head, size_t n_kv_head) {
  LayerConfig c;
  c.n_head = n_head;
  c.n_kv_head = n_kv_head;
  c.d_head = 8;
  c.n_ff = 96;
  return c;
}

// Each query head belongs to one rank, which has its key head.
TEST(Shard, QueryHeadsGoWithTheirKeyHeads) {
  const std::pair<size_t, size_t> shapes[] = {{12, 12}, {8, 2}, {8, 1}, {71, 1}, {6, 3}, {32, 4}};
  for (const auto& [n_head, n_kv_head] : shapes)
    for (const size_t n_ranks : {1, 2, 4}) {
      if (n_kv_head < n_ranks && n_ranks % n_kv_head != 0) continue;
      const LayerConfig c = layer_of(n_head, n_kv_head);
      std::vector<int> seen(n_head);
      for (size_t rank = 0; rank < n_ranks; ++rank) {
        const LayerCut cut = cut_of(c, {rank, n_ranks});
        if (n_ranks == 1) {
          EXPECT_FALSE(cut.mixer || cut.mlp);
          std::ranges::fill(seen, 1);
          continue;
        }
        const LayerConfig part = part_of(c, cut, 1, {rank, n_ranks});
        EXPECT_TRUE(part.mixer_in_parts && part.mlp_in_parts);
        ASSERT_GT(part.n_head, 0u);
        EXPECT_EQ(part.n_head % part.n_kv_head, 0u);
        for (size_t head = 0; head < part.n_head; ++head) {
          ++seen[cut.heads.begin + head];
          EXPECT_EQ(cut.kv_heads.begin + head / part.n_group(), (cut.heads.begin + head) / c.n_group());
        }
      }
      EXPECT_EQ(seen, std::vector<int>(n_head, 1)) << n_head << " and " << n_kv_head << " among " << n_ranks;
    }
}

TEST(Shard, HeadsThatDoNotGoAmongTheRanksAreNamed) {
  const auto expect_refused = [](const LayerConfig& c, Shard shard, const char* word) {
    try {
      cut_of(c, shard);
      ADD_FAILURE() << word;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  };
  expect_refused(layer_of(6, 3), {0, 4}, "3 key heads for 6 query heads");
  expect_refused(layer_of(4, 2), {0, 8}, "among 8 ranks");
  EXPECT_THROW(neuron_unit(64, 32, {0, 3}), Error);
}

TEST(Shard, WhatMixesHeadsOrNeuronsStaysWhole) {
  const Shard shard{0, 2};
  LayerConfig c = layer_of(4, 4);
  c.qk_norm = QkNorm::kAllHeads;
  EXPECT_FALSE(cut_of(c, shard).mixer);
  EXPECT_TRUE(cut_of(c, shard).mlp);
  c = layer_of(4, 4);
  c.sub_norms = true;
  EXPECT_FALSE(cut_of(c, shard).mixer || cut_of(c, shard).mlp);
  c = layer_of(4, 1);
  c.latent.rank = 16;
  EXPECT_FALSE(cut_of(c, shard).mixer);
  c = layer_of(4, 4);
  c.mixer = Mixer::kMamba2;
  EXPECT_FALSE(cut_of(c, shard).mixer);
  EXPECT_TRUE(cut_of(c, shard).mlp);
}

TEST(Shard, SlopesGoWithTheirHeads) {
  LayerConfig c = layer_of(4, 4);
  c.alibi_slopes = {1, 2, 3, 4};
  EXPECT_EQ(part_of(c, cut_of(c, {1, 2}), 1, {1, 2}).alibi_slopes, (std::vector<float>{3, 4}));
}

}  // namespace
}  // namespace hunch
