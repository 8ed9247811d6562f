#include "compress/type_budget.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace hunch {
namespace {

using Matrices = std::vector<std::vector<TypeChoice>>;

struct Total {
  uint64_t bytes = 0;
  double loss = 0;
};

Total total_of(const Matrices& matrices, const std::vector<size_t>& chosen) {
  Total total;
  for (size_t m = 0; m < matrices.size(); ++m) {
    total.bytes += matrices[m][chosen[m]].bytes;
    total.loss += matrices[m][chosen[m]].loss;
  }
  return total;
}

Total spent(const Matrices& matrices, uint64_t bytes) {
  return total_of(matrices, spend(matrices, upgrades_of(matrices), bytes));
}

TEST(TypeBudget, TheByteThatSavesMostComesFirst) {
  const Matrices matrices = {{{10, 8}, {20, 2}, {40, 1}}, {{10, 5}, {30, 1}}};
  const std::vector<Upgrade> upgrades = upgrades_of(matrices);
  ASSERT_EQ(upgrades.size(), 3u);
  EXPECT_EQ(upgrades[0].matrix, 0u);  // 0.6 a byte
  EXPECT_EQ(upgrades[1].matrix, 1u);  // 0.2
  EXPECT_EQ(upgrades[2].choice, 2u);  // 0.05
  EXPECT_EQ(spend(matrices, upgrades, 20), (std::vector<size_t>{0, 0}));
  EXPECT_EQ(spend(matrices, upgrades, 30), (std::vector<size_t>{1, 0}));
  EXPECT_EQ(spend(matrices, upgrades, 50), (std::vector<size_t>{1, 1}));
  EXPECT_EQ(spend(matrices, upgrades, 69), (std::vector<size_t>{1, 1}));
  EXPECT_EQ(spend(matrices, upgrades, 70), (std::vector<size_t>{2, 1}));
  EXPECT_EQ(spend(matrices, upgrades, 49), (std::vector<size_t>{1, 0}));
}

TEST(TypeBudget, WhatIsAboveTheHullIsNeverTaken) {
  // More bytes and more loss; on the line's wrong side; the same bytes and more loss.
  const Matrices matrices = {{{10, 8}, {12, 9}, {15, 7.9}, {20, 2}, {20, 3}}};
  const std::vector<Upgrade> upgrades = upgrades_of(matrices);
  ASSERT_EQ(upgrades.size(), 1u);
  EXPECT_EQ(upgrades[0].choice, 3u);
}

TEST(TypeBudget, AnUpgradeThatDoesNotFitLeavesRoomForOthers) {
  const Matrices matrices = {{{10, 100}, {110, 0}}, {{10, 5}, {15, 1}}};
  EXPECT_EQ(spend(matrices, upgrades_of(matrices), 30), (std::vector<size_t>{0, 1}));
}

// At every budget that ends with a whole upgrade no choice of types of the same bytes loses less, by trying all.
TEST(TypeBudget, IsTheBestThereIsAtTheHullsBytes) {
  std::mt19937 rng(4);
  for (size_t trial = 0; trial < 30; ++trial) {
    Matrices matrices(4);
    for (auto& choices : matrices) {
      double loss = 20;
      uint64_t bytes = 5;
      for (size_t i = 0; i < 4; ++i) {
        choices.push_back({bytes, loss});
        bytes += 1 + rng() % 20;
        loss *= 0.1 + 0.8 * double(rng() % 100) / 100;
      }
    }
    const std::vector<Upgrade> upgrades = upgrades_of(matrices);
    std::vector<size_t> chosen = first_choices(matrices);
    for (const Upgrade& u : upgrades) {
      chosen[u.matrix] = u.choice;
      const Total want = total_of(matrices, chosen), got = spent(matrices, want.bytes);
      EXPECT_LE(got.bytes, want.bytes);
      EXPECT_NEAR(got.loss, want.loss, 1e-12);
      double best = INFINITY;
      for (size_t code = 0; code < 256; ++code) {
        const Total t = total_of(matrices, {code % 4, code / 4 % 4, code / 16 % 4, code / 64});
        if (t.bytes <= want.bytes) best = std::min(best, t.loss);
      }
      EXPECT_NEAR(got.loss, best, 1e-12);
    }
  }
}

}  // namespace
}  // namespace hunch
