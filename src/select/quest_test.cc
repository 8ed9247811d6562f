#include "select/quest.h"

#include <gtest/gtest.h>

#include "kernels/page_bounds.h"
#include "select/chosen_pages.h"
#include "select/key_policy.h"
#include "select/test_golden_cache.h"
#include "select/test_pages.h"

namespace hunch {
namespace {

// The published code takes the newest page only where it is chosen, and never fewer than three pages.
TEST(Quest, IsThePublishedCode) {
  const auto path = shared_path("golden/algos2/quest.json");
  if (!path) GTEST_SKIP() << "needs golden/algos2";
  const GoldenArrays golden(path->parent_path() / "quest");
  for (const auto& [name, settings] : golden.configs().items()) {
    SCOPED_TRACE(name);
    const size_t page_tokens = settings["page"], n_kept = settings["pages_kept"];
    const auto q = golden.get<float>(name + ".q"), k = golden.get<float>(name + ".k"),
               v = golden.get<float>(name + ".v");
    const auto scores = golden.get<float>(name + ".page_score"), out = golden.get<float>(name + ".out");
    const auto largest = golden.get<float>(name + ".page_max"), smallest = golden.get<float>(name + ".page_min");
    const auto kept = golden.get<int>(name + ".pages");
    const size_t n_kv = k.shape[0], n = k.shape[1], d = k.shape[2], n_head = q.shape[0], n_pages = scores.shape[1];
    EXPECT_EQ(n_kept, std::min(n_pages, std::max<size_t>(3, settings["budget"].get<size_t>() / page_tokens)));
    const GoldenCache cache(k, v);
    Compute compute(1);
    const Arena::Scope scope(compute.arena);
    ChosenPages pages(compute, cache.view, page_tokens, n_head, /*with_positions=*/false);
    for (size_t head = 0; head < n_head; ++head) {
      const size_t kv_head = head / (n_head / n_kv);
      std::vector<float> summaries(n_pages * 2 * d), bounds(n_pages), scratch(page_bounds_scratch(1, d));
      for (size_t p = 0; p < n_pages; ++p) {
        float* const summary = summaries.data() + p * 2 * d;
        const size_t first = p * page_tokens, n_on = std::min(page_tokens, n - first);
        summarise_keys({k.row(kv_head, first).data(), n_on, d}, summary);
        EXPECT_TRUE(std::ranges::equal(std::span(summary, d), largest.row(kv_head, p)));
        EXPECT_TRUE(std::ranges::equal(std::span(summary + d, d), smallest.row(kv_head, p)));
      }
      page_bounds(summaries.data(), {q.row(head).data(), 1, d}, {bounds.data(), 1, n_pages}, scratch.data());
      for (size_t p = 0; p < n_pages; ++p) EXPECT_NEAR(bounds[p], scores.row(head)[p], 1e-4);
      std::vector<uint32_t> ids(n_pages);
      std::iota(ids.begin(), ids.end(), 0u);
      const std::span<const uint32_t> chosen = keep_heaviest(bounds, n_kept, ids);
      ASSERT_TRUE(std::ranges::equal(chosen, kept.row(head)));
      const AttentionSpan span = pages.span(head, chosen, n);
      std::vector<float> result(n_head * d);
      AttentionParams params;
      params.scale = 1 / std::sqrt(float(d));
      attention(compute, {q.values.data(), 1, n_head * d}, n_head, {&span, 1}, params, {result.data(), 1, n_head * d});
      for (size_t i = 0; i < d; ++i) EXPECT_NEAR(result[head * d + i], out.row(head)[i], 1e-5);
    }
  }
}

// Of every format, made at once or as pages fill, and taken back.
TEST(Quest, SummariesAreOfTheKeysThatTheCacheHas) {
  std::mt19937 rng(2);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0})
    for (const size_t page_tokens : {8, 32, 64}) {
      const RandomCache cache(300, 2, 32, 32, dtype, rng);
      Compute compute(2);
      const size_t n_pages = 300 / page_tokens;
      PageSummaries at_once, by_turns;
      at_once.update(compute, cache.view, page_tokens, n_pages);
      by_turns.update(compute, cache.view, page_tokens, 2);
      by_turns.truncate(2 * page_tokens - 1);
      EXPECT_EQ(by_turns.n_pages(), 1u);
      by_turns.update(compute, cache.view, page_tokens, 3);
      const uint64_t before = compute.meter.bytes()[Traffic::kKv];
      by_turns.update(compute, cache.view, page_tokens, n_pages);
      EXPECT_EQ(compute.meter.bytes()[Traffic::kKv] - before, 2 * (n_pages - 3) * page_tokens * row_bytes(dtype, 32));
      std::vector<float> q(32), scratch(page_bounds_scratch(1, 32)), bounds(n_pages), same(n_pages);
      for (size_t i = 0; i < 32; ++i) q[i] = i % 2 ? 1.0f : -0.5f;
      for (size_t head = 0; head < 2; ++head) {
        at_once.bound(head, {q.data(), 1, 32}, {bounds.data(), 1, n_pages}, scratch.data());
        by_turns.bound(head, {q.data(), 1, 32}, {same.data(), 1, n_pages}, scratch.data());
        EXPECT_EQ(bounds, same);
        AttentionSpan query{cache.view, 0, 1, 299};
        AttentionParams params;
        for (size_t p = 0; p < n_pages; ++p) {
          const double want = bound_of(query, q, head, 1, params, page_tokens, p, false);
          EXPECT_NEAR(bounds[p], want, dtype == DType::kF32 || dtype == DType::kF16 ? 1e-4 : 0.03);
          EXPECT_GE(bounds[p], want - 1e-4) << "halves are rounded away from the keys";
        }
      }
    }
}

// The others are as they are without a policy.
TEST(Quest, LeavesTheFirstLayersAndWindowsAndShortTextsAlone) {
  std::mt19937 rng(3);
  const Quest quest({.page_tokens = 8, .n_pages = 3}, /*n_full=*/2);
  const RandomCache cache(100, 1, 16, 32, DType::kF32, rng);
  std::vector<float> q(16, 0.5f), got(16), whole(16);
  Compute compute(1);
  const auto attend = [&](size_t layer, size_t position, size_t window) {
    const auto state = quest.new_state();
    const AttentionSpan query{cache.view, 0, 1, position};
    AttentionParams params;
    params.window = window;
    const PageReads reads = static_cast<KeyState&>(*state).attend(compute, {layer, 4, cache.view}, query,
                                                                  {q.data(), 1, 16}, 1, params, {got.data(), 1, 16});
    attention(compute, {q.data(), 1, 16}, 1, {&query, 1}, params, {whole.data(), 1, 16});
    EXPECT_EQ(got == whole, reads.n_choices == 0);
    return reads.n_choices;
  };
  EXPECT_EQ(attend(0, 99, 0), 0u);
  EXPECT_EQ(attend(1, 99, 0), 0u);
  EXPECT_EQ(attend(2, 99, 0), 1u);
  EXPECT_EQ(attend(2, 99, 60), 0u);
  EXPECT_EQ(attend(3, 23, 0), 0u) << "three pages";
  EXPECT_EQ(attend(3, 24, 0), 1u);
}

}  // namespace
}  // namespace hunch
