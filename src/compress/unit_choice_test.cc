#include "compress/unit_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/error.h"

namespace hunch {
namespace {

using Kept = std::vector<std::vector<uint32_t>>;

UnitSet set_of(std::vector<double> scores, uint64_t cost, size_t multiple = 1) {
  return {0, UnitKind::kNeuron, std::move(scores), cost, multiple};
}

TEST(ChooseUnits, TheLeastOfAllGoUntilEnoughParametersHaveGone) {
  const UnitSet sets[] = {set_of({5, 1, 4, 2}, 10), set_of({3, 9, 0.5}, 20)};
  // Of 100 parameters: 0.5 (20), then 1 (10), then 2 (10), then 3 (20).
  EXPECT_EQ(choose_units(sets, {0.2}), (Kept{{0, 1, 2, 3}, {0, 1}}));
  EXPECT_EQ(choose_units(sets, {0.21}), (Kept{{0, 2, 3}, {0, 1}}));
  EXPECT_EQ(choose_units(sets, {0.3}), (Kept{{0, 2, 3}, {0, 1}}));
  EXPECT_EQ(choose_units(sets, {0.45}), (Kept{{0, 2}, {1}}));
  EXPECT_EQ(choose_units(sets, {0}), (Kept{{0, 1, 2, 3}, {0, 1, 2}}));
}

TEST(ChooseUnits, OneOfEachSetStays) {
  const UnitSet sets[] = {set_of({1, 2}, 1), set_of({10, 20, 30}, 1)};
  EXPECT_EQ(choose_units(sets, {0.6}), (Kept{{1}, {2}}));
  try {
    choose_units(sets, {0.7});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("at most 0.600"), std::string::npos) << e.what();
  }
  for (const double share : {-0.1, 1.0, std::nan("")}) EXPECT_THROW(choose_units(sets, {share}), Error);
}

TEST(ChooseUnits, EqualSharesOfEverySet) {
  const UnitSet sets[] = {set_of({1, 2, 3, 4}, 1), set_of({100, 400, 200, 300, 500, 600, 700, 800}, 7)};
  EXPECT_EQ(choose_units(sets, {0.5, true}), (Kept{{2, 3}, {4, 5, 6, 7}}));
}

// Against a plain statement of the same: fewest units of least score, rounded per set, so that enough goes.
TEST(ChooseUnits, MultiplesAreOfWhatStays) {
  std::mt19937 rng(1);
  std::normal_distribution<double> normal;
  for (size_t trial = 0; trial < 40; ++trial) {
    std::vector<UnitSet> sets;
    uint64_t total = 0;
    for (size_t s = 0; s < 3; ++s) {
      std::vector<double> scores(20 + rng() % 30);
      for (double& v : scores) v = normal(rng);
      sets.push_back(set_of(scores, 1 + rng() % 9, s == 2 ? 1 : 8));
      total += sets[s].cost * scores.size();
    }
    const double share = 0.1 + 0.5 * double(rng() % 100) / 100;
    const Kept kept = choose_units(sets, {share});
    uint64_t gone = total;
    double worst_kept = INFINITY;
    for (size_t s = 0; s < 3; ++s) {
      gone -= sets[s].cost * kept[s].size();
      EXPECT_TRUE(kept[s].size() % sets[s].multiple == 0 || kept[s].size() == sets[s].scores.size());
      EXPECT_TRUE(std::ranges::is_sorted(kept[s]));
      double least = INFINITY, most_gone = -INFINITY;
      std::vector<bool> stays(sets[s].scores.size());
      for (const uint32_t u : kept[s]) stays[u] = true, least = std::min(least, sets[s].scores[u]);
      for (size_t u = 0; u < stays.size(); ++u)
        if (!stays[u]) most_gone = std::max(most_gone, sets[s].scores[u]);
      EXPECT_GE(least, most_gone);
      worst_kept = std::min(worst_kept, least);
    }
    EXPECT_GE(double(gone), share * double(total));
    EXPECT_LT(double(gone), share * double(total) + 8 * 9 * 3) << "no more than rounding takes";
  }
}

TEST(Standardise, MeanNoughtAndDeviationOne) {
  std::vector<double> scores = {1, 2, 3, 6};
  standardise(scores);
  EXPECT_NEAR(std::accumulate(scores.begin(), scores.end(), 0.0), 0, 1e-12);
  double squares = 0;
  for (const double s : scores) squares += s * s;
  EXPECT_NEAR(squares / 3, 1, 1e-12);
  std::vector<double> same = {4, 4};
  standardise(same);
  EXPECT_EQ(same, (std::vector<double>{0, 0}));
}

}  // namespace
}  // namespace hunch
