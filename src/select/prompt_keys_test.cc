#include "select/prompt_keys.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "select/test_golden_cache.h"
#include "select/test_pages.h"

namespace hunch {
namespace {

using Ids = std::vector<uint32_t>;

// A prompt's queries, [n_head][n_tokens][d], are read in these parts.
void read(KeyState& state, const KeyPlace& place, const GoldenArray<float>& q, std::initializer_list<size_t> parts) {
  const size_t n_head = q.shape[0], d = q.shape[2];
  AttentionParams params;
  params.scale = 1 / std::sqrt(float(d));
  size_t first = 0;
  for (const size_t n : parts) {
    std::vector<float> rows;
    for (size_t t = first; t < first + n; ++t)
      for (size_t head = 0; head < n_head; ++head)
        rows.insert(rows.end(), q.row(head, t).begin(), q.row(head, t).end());
    const size_t n_shown = std::min(n, state.n_queries()), n_before = n - n_shown;
    state.see(place, {MatView<const float>(rows.data(), n, n_head * d).row_range(n_before, n_shown), n_head,
                      first + n_before, params, true});
    first += n;
  }
  EXPECT_EQ(first, q.shape[1]);
}

// What a layer keeps.
std::vector<Ids> decided(KeyState& state, const KeyPlace& place) {
  Compute compute(2);
  state.decide(compute, place);
  std::vector<Rows> rows(place.view.n_kv_head);
  state.keep(place, rows);
  std::vector<Ids> kept(rows.size());
  for (size_t head = 0; head < rows.size(); ++head)
    rows[head].for_each([&](size_t s) { kept[head].push_back(uint32_t(s)); });
  return kept;
}

std::vector<Ids> kept_of(KeyState& state, const KeyPlace& place, const GoldenArray<float>& q,
                         std::initializer_list<size_t> parts) {
  read(state, place, q, parts);
  return decided(state, place);
}

class PromptKeysGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto path = shared_path("golden/algos2/snapkv_pyramidkv.json");
    if (!path) GTEST_SKIP() << "needs golden/algos2";
    golden_.emplace(path->parent_path() / "snapkv_pyramidkv");
  }
  // `kept` and `out_next` of a layer, of heads that have keys of their own or share them.
  void expect_layer(const PromptKeys& keys, const std::string& name, size_t layer, size_t n_layer, bool shares) {
    SCOPED_TRACE(name);
    const auto q = golden_->get<float>("q"), k = golden_->get<float>("k"), v = golden_->get<float>("v");
    const GoldenCache cache(k, v, shares ? 1 : q.shape[0] / k.shape[0]);
    std::vector<Ids> kept;
    for (const auto& parts : {std::initializer_list<size_t>{96}, {50, 43, 2, 1}}) {
      const auto state = keys.new_state();
      kept = kept_of(static_cast<KeyState&>(*state), {layer, n_layer, cache.view}, q, parts);
      const auto want = golden_->get<int>(name + (golden_->has(name + ".kept_sorted") ? ".kept_sorted" : ".kept"));
      for (size_t head = 0; head < kept.size(); ++head) {
        Ids sorted(want.row(head).begin(), want.row(head).end());
        std::ranges::sort(sorted);
        ASSERT_EQ(kept[head], sorted) << head;
      }
    }
    if (!golden_->has(name + ".out_next")) return;
    const auto next = golden_->get<float>("q_next"), out = golden_->get<float>(name + ".out_next");
    std::vector<Rows> slots;
    for (const Ids& ids : kept) slots.push_back(Rows::of(ids, q.shape[1]));
    AttentionSpan span{cache.view, 0, 1, q.shape[1] - 1};
    span.keys = slots;
    AttentionParams params;
    params.scale = 1 / std::sqrt(float(q.shape[2]));
    std::vector<float> result(next.values.size());
    Compute compute(1);
    attention(compute, {next.values.data(), 1, next.values.size()}, q.shape[0], {&span, 1}, params,
              {result.data(), 1, result.size()});
    for (size_t i = 0; i < result.size(); ++i) EXPECT_NEAR(result[i], out.values[i], 1e-5);
  }
  static PromptKeysOptions options_of(const nlohmann::json& settings) {
    PromptKeysOptions o;
    o.budget = settings["max_capacity_prompt"], o.window = settings["window"];
    o.kernel = settings.value("kernel", 5), o.pools_max = settings.value("pooling", "avgpool") == "maxpool";
    o.beta = settings.value("beta", 0);
    return o;
  }
  std::optional<GoldenArrays> golden_;
};

// gqa_max, which lets the query head with the most votes speak for its group, is not among the policies.
TEST_F(PromptKeysGolden, KeepsWhatThePublishedCodesKeep) {
  size_t n = 0;
  for (const auto& [name, settings] : golden_->configs().items()) {
    const PromptKeys keys("golden", options_of(settings));
    if (settings.contains("layers") && golden_->has(name + ".l0.kept")) {
      const size_t n_layer = settings["layers"];
      for (size_t layer = 0; layer < n_layer; ++layer)
        if (const std::string of_layer = fmt::format("{}.l{}", name, layer); golden_->has(of_layer + ".kept")) {
          expect_layer(keys, of_layer, layer, n_layer, false);
          ++n;
        }
    } else if (name.starts_with("snap_") || name == "gqa_mean") {
      expect_layer(keys, name, 0, 1, name == "gqa_mean");
      ++n;
    }
  }
  EXPECT_EQ(n, 19u);
}

TEST_F(PromptKeysGolden, BudgetsByLayerAreThePublishedOnes) {
  size_t n = 0;
  for (const auto& [name, settings] : golden_->configs().items()) {
    if (!golden_->has(name + ".kept_per_layer")) continue;
    SCOPED_TRACE(name);
    const PromptKeys keys("golden", options_of(settings));
    const auto want = golden_->get<int>(name + ".kept_per_layer");
    const size_t n_tokens = settings.value("prompt", 96), n_layer = want.values.size();
    for (size_t layer = 0; layer < n_layer; ++layer, ++n)
      EXPECT_EQ(std::min(keys.n_kept(layer, n_layer, n_tokens) + keys.options().window, n_tokens),
                size_t(want.values[layer]))
          << layer;
  }
  EXPECT_GT(n, 100u);
}

TEST(PromptKeys, PoolsVotesWithTheirNeighbours) {
  std::vector<float> votes = {5, 0, 0, 1, 10};
  pool_votes(votes, 3, /*max=*/false);
  EXPECT_EQ(votes, (std::vector<float>{5 / 3.0f, 5 / 3.0f, 1 / 3.0f, 11 / 3.0f, 11 / 3.0f}));
  votes = {5, 0, 0, 1, 10};
  pool_votes(votes, 3, /*max=*/true);
  EXPECT_EQ(votes, (std::vector<float>{5, 5, 1, 10, 10}));
  pool_votes(votes, 1, false);
  EXPECT_EQ(votes, (std::vector<float>{5, 5, 1, 10, 10}));
}

// Of 2 * 4 tokens, one for each head whatever its votes, six by votes.
TEST(PromptKeys, SharesABudgetOutToWhomVotesGo) {
  const std::vector<float> votes = {9, 8, 1, 1, 1, 1, 7, 6, 5, 4, 0, 0};
  size_t n[2];
  share_out({votes.data(), 2, 6}, 4, 0.25, n);
  EXPECT_EQ(n[0], 1u + 2);
  EXPECT_EQ(n[1], 1u + 4);
  share_out({votes.data(), 2, 6}, 4, 1, n);
  EXPECT_EQ(n[0], 4u);
}

struct Prompt {
  Prompt(size_t n_tokens, std::mt19937& rng) : cache(n_tokens, 2, 8, 16, DType::kF32, rng), q{{4, n_tokens, 8}, {}} {
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < 4 * n_tokens * 8; ++i) q.values.push_back(normal(rng));
  }
  RandomCache cache;
  GoldenArray<float> q;
};

TEST(PromptKeys, HeadsKeepAsManyAsTheyAreGivenAndTheWindow) {
  std::mt19937 rng(4);
  const Prompt prompt(60, rng);
  PromptKeysOptions options{.budget = 20, .window = 4, .floor = 0.2};
  const PromptKeys keys("adakv", options);
  const auto state = keys.new_state();
  const std::vector<Ids> kept = kept_of(static_cast<KeyState&>(*state), {0, 2, prompt.cache.view}, prompt.q, {60});
  EXPECT_EQ(kept[0].size() + kept[1].size(), 40u);
  EXPECT_NE(kept[0].size(), kept[1].size()) << "by votes";
  for (const Ids& ids : kept)
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(ids[ids.size() - 1 - i], 59 - i);
}

TEST(PromptKeys, WhatIsDecodedStaysAndShortPromptsDo) {
  std::mt19937 rng(5);
  const Prompt prompt(30, rng);
  const PromptKeys keys("snapkv", {.budget = 16, .window = 8});
  const auto made = keys.new_state();
  KeyState& state = static_cast<KeyState&>(*made);
  const KeyPlace place{0, 1, prompt.cache.view};
  EXPECT_EQ(kept_of(state, place, prompt.q, {30})[0].size(), 16u);
  EXPECT_EQ(decided(state, place)[0].size(), 30u) << "after a decoded token";

  const Prompt small(16, rng);
  state.truncate(0);
  EXPECT_EQ(kept_of(state, {0, 1, small.cache.view}, small.q, {16})[0].size(), 16u);
}

// Four of its last eight queries are left.
TEST(PromptKeys, OfATextThatWasCutShortTheQueriesThatAreLeftVote) {
  std::mt19937 rng(6);
  const Prompt prompt(16, rng);
  const PromptKeys keys("snapkv", {.budget = 10, .window = 8});
  const auto made = keys.new_state();
  KeyState& state = static_cast<KeyState&>(*made);
  read(state, {0, 1, prompt.cache.view}, prompt.q, {16});
  state.truncate(12);
  KvView view = prompt.cache.view;
  view.n_tokens = 12;
  const Ids kept = decided(state, {0, 1, view})[0];
  EXPECT_EQ(kept.size(), 2u + 4);
  EXPECT_EQ(Ids(kept.end() - 4, kept.end()), (Ids{8, 9, 10, 11}));
}

}  // namespace
}  // namespace hunch
