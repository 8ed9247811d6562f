#include "select/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace hunch {
namespace {

std::vector<uint32_t> rows_of(const Rows& selection) { return {selection.ids().begin(), selection.ids().end()}; }

// By a stable sort on magnitude.
std::vector<uint32_t> plain(std::span<const float> score, size_t k) {
  std::vector<uint32_t> ids(score.size());
  std::iota(ids.begin(), ids.end(), 0u);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](uint32_t a, uint32_t b) { return std::fabs(score[a]) > std::fabs(score[b]); });
  ids.resize(k);
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST(SelectTopK, MatchesASortForRandomScoresAndMassiveTies) {
  std::mt19937 rng(1);
  Rows out;
  for (size_t n : {1, 2, 5, 64, 1000, 4099})
    for (int kind = 0; kind < 4; ++kind) {
      std::vector<float> score(n);
      std::normal_distribution<float> normal;
      for (float& s : score) {
        s = normal(rng);
        if (kind == 1) s = std::round(s);      // many ties
        if (kind == 2) s = std::max(s, 0.0f);  // half are zero, as after ReLU
        if (kind == 3) s = 1 + s * 1e-6f;      // differ in the last bits only
      }
      for (size_t k : {size_t{0}, size_t{1}, n / 10, n / 2, n - 1}) {
        if (k >= n) continue;
        select_top_k(score, k, out);
        EXPECT_EQ(rows_of(out), plain(score, k)) << "n " << n << " k " << k << " kind " << kind;
        EXPECT_FALSE(out.is_all());
        EXPECT_EQ(out.n_total(), n);
      }
    }
}

TEST(SelectTopK, OfAsManyAsThereAreIsAll) {
  Rows out;
  select_top_k(std::vector<float>{1, 2, 3}, 3, out);
  EXPECT_TRUE(out.is_all());
  select_top_k(std::vector<float>{1, 2, 3}, 100, out);
  EXPECT_TRUE(out.is_all());
  EXPECT_EQ(out.size(), 3u);
  select_top_k({}, 0, out);
  EXPECT_EQ(out.size(), 0u);
}

TEST(SelectTopK, TakesNaNBeforeInfinityAndIgnoresSigns) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> score = {0, -5, inf, 4, nan, -0.0f, -inf};
  Rows out;
  select_top_k(score, 1, out);
  EXPECT_EQ(rows_of(out), (std::vector<uint32_t>{4}));
  select_top_k(score, 2, out);
  EXPECT_EQ(rows_of(out), (std::vector<uint32_t>{2, 4})) << "equal magnitudes: the lower id";
  select_top_k(score, 4, out);
  EXPECT_EQ(rows_of(out), (std::vector<uint32_t>{1, 2, 4, 6}));
  select_top_k(score, 6, out);
  EXPECT_EQ(rows_of(out), (std::vector<uint32_t>{0, 1, 2, 3, 4, 6})) << "0 and -0 tie";
}

TEST(SelectTopK, ReusesItsMemory) {
  std::vector<float> score(500, 1.0f);
  Rows out;
  select_top_k(score, 100, out);
  const uint32_t* memory = out.ids().data();
  select_top_k(score, 99, out);
  EXPECT_EQ(out.ids().data(), memory);
}

}  // namespace
}  // namespace hunch
