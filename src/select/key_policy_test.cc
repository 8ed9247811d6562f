#include "select/key_policy.h"

#include <gtest/gtest.h>

#include <limits>

#include "io/golden_arrays.h"
#include "select/heavy_hitters.h"
#include "select/streaming_llm.h"

namespace hunch {
namespace {

using Ids = std::vector<uint32_t>;

Ids kept_by(const KeyPolicy& policy, size_t n_slots, size_t budget) {
  Ids kept = {99};
  policy.keep(n_slots, budget, kept);
  return kept;
}

// The entries before the padding.
Ids unpadded(std::span<const int> row) {
  Ids out;
  for (int x : row)
    if (x >= 0) out.push_back(uint32_t(x));
  return out;
}

TEST(KeyPolicy, KeepHeaviestPrefersLowerIdsAndLeavesNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> score = {1, nan, 3, 1, 0, 3, 1};
  Ids ids = {0, 1, 2, 3, 5, 6};
  const auto kept = keep_heaviest(score, 4, ids);
  EXPECT_EQ(Ids(kept.begin(), kept.end()), (Ids{0, 2, 3, 5}));
  EXPECT_EQ(keep_heaviest(score, 9, ids).size(), 6u);
}

TEST(StreamingLlm, KeepsSinksAndWindow) {
  const StreamingLlm policy(2);
  EXPECT_EQ(kept_by(policy, 5, 5), (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(kept_by(policy, 8, 5), (Ids{0, 1, 5, 6, 7}));
  EXPECT_EQ(kept_by(policy, 8, 2), (Ids{0, 1}));
  EXPECT_EQ(kept_by(policy, 8, 1), (Ids{0})) << "a budget below the sinks";
  EXPECT_EQ(kept_by(policy, 8, 0), Ids());
}

TEST(HeavyHitters, KeepsHalfHeavyHalfRecentAndFollowsCompactions) {
  HeavyHitters policy;
  policy.observe(std::vector<float>{1, 5, 0, 4, 9, 9});
  const Ids kept = kept_by(policy, 6, 4);
  EXPECT_EQ(kept, (Ids{1, 3, 4, 5}));
  policy.compact(kept);
  policy.observe(std::vector<float>{0, 2, 0, 0, 1});  // the slots are 1, 3, 4, 5 and a new one
  EXPECT_EQ(std::vector<float>(policy.scores().begin(), policy.scores().end()), (std::vector<float>{5, 6, 9, 9, 1}));
  EXPECT_EQ(kept_by(policy, 5, 3), (Ids{2, 3, 4})) << "one heavy, two recent";
  EXPECT_EQ(kept_by(HeavyHitters(0), 0, 3), Ids());
  EXPECT_EQ(kept_by(HeavyHitters(7), 9, 3), (Ids{6, 7, 8})) << "more recent than budget";
}

TEST(StreamingLlm, KeepsWhatThePublishedCodeKeeps) {
  const auto path = shared_path("golden/algos/streaming_llm.json");
  if (!path) GTEST_SKIP() << "needs golden/algos";
  const GoldenArrays golden(path->parent_path() / "streaming_llm");
  for (const auto& [name, settings] : golden.configs().items()) {
    SCOPED_TRACE(name);
    const size_t start = settings["start_size"], budget = start + settings["recent_size"].get<size_t>();
    const StreamingLlm policy(start);
    const auto kept = golden.get<int>(name + ".kept");
    Ids cache;  // positions of the tokens in the slots
    uint32_t next = 0;
    for (size_t step = 0; step < kept.shape[0]; ++step) {
      const size_t n_new = step == 0 ? settings["prompt"].get<size_t>() : 1;
      for (size_t i = 0; i < n_new; ++i) cache.push_back(next++);
      const Ids slots = kept_by(policy, cache.size(), budget);
      for (size_t i = 0; i < slots.size(); ++i) cache[i] = cache[slots[i]];
      cache.resize(slots.size());
      EXPECT_EQ(cache, unpadded(kept.row(step))) << step;
    }
    const auto evicted = golden.get<int>(name + ".evict_for_space");
    for (size_t n_coming = 0; n_coming < evicted.shape[0]; ++n_coming)
      EXPECT_EQ(kept_by(policy, budget, budget - n_coming), unpadded(evicted.row(n_coming))) << n_coming;
  }
}

// Sums of the columns of [n_rows, n] weights, of which the first n_columns count.
std::vector<float> column_sums(std::span<const float> weights, size_t n_rows, size_t n_columns) {
  std::vector<float> sums(n_columns);
  for (size_t q = 0; q < n_rows; ++q)
    for (size_t s = 0; s < n_columns; ++s) sums[s] += weights[q * (weights.size() / n_rows) + s];
  return sums;
}

// utils_real_drop: each step's weights are over the cache as it is.
TEST(HeavyHitters, DropsWhatThePublishedCacheDrops) {
  const auto path = shared_path("golden/algos/h2o_realdrop.json");
  if (!path) GTEST_SKIP() << "needs golden/algos";
  const GoldenArrays golden(path->parent_path() / "h2o_realdrop");
  for (const auto& [name, settings] : golden.configs().items()) {
    SCOPED_TRACE(name);
    const size_t n_recent = settings["recent_size"], budget = n_recent + settings["hh_size"].get<size_t>();
    const auto prompt = golden.get<float>(name + ".attn_prompt"), steps = golden.get<float>(name + ".attn_steps");
    const auto want = golden.get<int>(name + ".kept");
    const auto want_score = golden.get<float>(name + ".hh_score");
    for (size_t head = 0; head < prompt.shape[0]; ++head) {
      HeavyHitters policy(n_recent);
      Ids cache;
      append_range(0, prompt.shape[1], cache);
      for (size_t step = 0; step < want.shape[0]; ++step) {
        if (step > 0) cache.push_back(uint32_t(prompt.shape[1] + step - 1));
        policy.observe(step == 0 ? column_sums(prompt.row(head), prompt.shape[1], cache.size())
                                 : column_sums(steps.row(step - 1, head), 1, cache.size()));
        const Ids slots = kept_by(policy, cache.size(), budget);
        policy.compact(slots);
        for (size_t i = 0; i < slots.size(); ++i) cache[i] = cache[slots[i]];
        cache.resize(slots.size());
        EXPECT_EQ(cache, unpadded(want.row(step, head))) << "head " << head << " step " << step;
        for (size_t i = 0; i < cache.size(); ++i)
          EXPECT_NEAR(policy.scores()[i], want_score.row(step, head)[i], 1e-5) << "head " << head << " step " << step;
      }
    }
  }
}

// utils_hh: weights are over the whole text, evicted tokens at zero, and the oldest recent slot is hidden.
TEST(HeavyHitters, HidesWhatThePublishedMasksHide) {
  const auto path = shared_path("golden/algos/h2o_mask.json");
  if (!path) GTEST_SKIP() << "needs golden/algos";
  const GoldenArrays golden(path->parent_path() / "h2o_mask");
  for (const auto& [name, settings] : golden.configs().items()) {
    SCOPED_TRACE(name);
    const size_t n_prompt = settings["prompt"], n_recent = settings["recent_budget"];
    const size_t n_heavy = settings["heavy_budget"];
    EXPECT_EQ(n_heavy, size_t(settings["heavy_ratio"].get<double>() * double(n_prompt) + 1e-9));
    const auto prompt = golden.get<float>(name + ".attn_prompt"), steps = golden.get<float>(name + ".attn_steps");
    const auto want = golden.get<int>(name + ".mask_next");
    for (size_t head = 0; head < prompt.shape[0]; ++head) {
      HeavyHitters policy(n_recent);
      Ids cache;
      append_range(0, n_prompt, cache);
      for (size_t step = 0; step < want.shape[0]; ++step) {
        const size_t n_tokens = n_prompt + step;  // seen so far
        if (step > 0) cache.push_back(uint32_t(n_tokens - 1));
        if (step == 0) {
          policy.observe(column_sums(prompt.row(head), n_prompt, n_prompt));
        } else {
          std::vector<float> weights;
          for (uint32_t token : cache) weights.push_back(steps.row(step - 1, head)[token]);
          policy.observe(weights);
        }
        const bool evicts = cache.size() > n_heavy + n_recent;
        const Ids slots = kept_by(policy, cache.size(), n_heavy + n_recent);
        policy.compact(slots);
        for (size_t i = 0; i < slots.size(); ++i) cache[i] = cache[slots[i]];
        cache.resize(slots.size());

        std::vector<int> visible(n_tokens + 1);
        for (uint32_t token : cache) visible[token] = 1;
        if (evicts) visible[n_tokens - n_recent] = 0;
        visible[n_tokens] = 1;
        const auto row = want.row(step, head).first(n_tokens + 1);
        EXPECT_EQ(visible, std::vector<int>(row.begin(), row.end())) << "head " << head << " step " << step;
      }
    }
  }
}

// Of runs of whole models only the shape of the kept sets can be checked here: what was dropped never returns, and the
// recent window stays.
TEST(HeavyHitters, WholeModelsKeepSetsOfThisShape) {
  for (const char* file : {"h2o_realdrop_llama_mha", "h2o_realdrop_llama_mha_rolling"}) {
    const auto path = shared_path("golden/algos/" + std::string(file) + ".json");
    if (!path) GTEST_SKIP() << "needs golden/algos";
    SCOPED_TRACE(file);
    const GoldenArrays golden(path->parent_path() / file);
    const auto kept = golden.get<int>("kept");
    const size_t n_recent = golden.settings()["recent_size"], n_heavy = golden.settings()["hh_size"];
    for (size_t step = 0; step < kept.shape[0]; ++step)
      for (size_t layer = 0; layer < kept.shape[1]; ++layer)
        for (size_t head = 0; head < kept.shape[2]; ++head) {
          // A policy that is told that exactly the heavy ones of this set are heavy keeps this set.
          const Ids want = unpadded(kept.row(step, layer, head));
          Ids cache;
          if (step == 0) append_range(0, 64, cache);
          if (step > 0) cache = unpadded(kept.row(step - 1, layer, head));
          if (step > 0) cache.push_back(uint32_t(63 + step));
          std::vector<float> weight(cache.size());
          for (size_t s = 0; s < cache.size(); ++s) weight[s] = std::ranges::count(want, cache[s]) ? 2.0f : 1.0f;
          HeavyHitters policy(n_recent);
          policy.observe(weight);
          Ids got;
          for (uint32_t slot : kept_by(policy, cache.size(), n_heavy + n_recent)) got.push_back(cache[slot]);
          EXPECT_EQ(got, want) << step << " " << layer << " " << head;
        }
  }
}

}  // namespace
}  // namespace hunch
