#include "select/page_attention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "select/test_pages.h"

namespace hunch {
namespace {

std::vector<float> normal(size_t n, std::mt19937& rng) {
  std::normal_distribution<float> distribution;
  std::vector<float> x(n);
  for (float& v : x) v = distribution(rng);
  return x;
}

struct Shape {
  size_t n_tokens = 200, n_head = 4, n_kv_head = 2, d_head = 32, cache_page = 32;
  DType dtype = DType::kF16;
};

// A query at the end of a random text, its row the second of three.
struct Case {
  Case(const Shape& s, const PageBudget& budget, std::mt19937& rng)
      : s(s), budget(budget), cache(s.n_tokens, s.n_kv_head, s.d_head, s.cache_page, s.dtype, rng) {
    q = normal(3 * s.n_head * s.d_head, rng);
    params.scale = 1 / std::sqrt(float(s.d_head));
    query = {cache.view, 1, 1, s.n_tokens - 1};
  }
  MatView<const float> Q() const { return {q.data(), 3, s.n_head * s.d_head}; }
  std::vector<float> run(size_t n_threads) {
    Compute compute(n_threads);
    PageSummaries summaries;
    summaries.update(compute, query.kv, budget.page_tokens, query.first_pos / budget.page_tokens);
    const uint64_t before = compute.meter.bytes()[Traffic::kKv];
    std::vector<float> result(q.size(), 7.0f);
    reads = attend_to_pages(compute, summaries, budget, query, Q(), s.n_head, params,
                            {result.data(), 3, s.n_head * s.d_head});
    n_bytes = compute.meter.bytes()[Traffic::kKv] - before;
    return result;
  }
  std::vector<float> reference() const {
    std::vector<float> result(q.size(), 7.0f);
    ref_attend_to_pages(budget, query, Q(), s.n_head, params, {result.data(), 3, s.n_head * s.d_head});
    return result;
  }
  std::vector<float> whole() const {
    std::vector<float> result(q.size(), 7.0f);
    ref::attention(Q(), s.n_head, {&query, 1}, params, {result.data(), 3, s.n_head * s.d_head});
    return result;
  }

  const Shape s;
  PageBudget budget;
  RandomCache cache;
  std::vector<float> q;
  AttentionParams params;
  AttentionSpan query;
  PageReads reads;
  uint64_t n_bytes = 0;
};

void expect_near(const std::vector<float>& got, const std::vector<float>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << i;
}

// Every format of cache, pages larger and smaller than the cache's, heads that share keys, together and alone, slopes,
// caps and sinks, some heads only.
TEST(PageAttention, IsTheReferenceOnChosenKeys) {
  std::mt19937 rng(5);
  const auto pick = [&rng](std::initializer_list<size_t> values) { return values.begin()[rng() % values.size()]; };
  const DType dtypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ5_1};
  for (size_t i = 0; i < 80; ++i) {
    Shape s;
    s.dtype = dtypes[rng() % std::size(dtypes)];
    s.d_head = is_plain(s.dtype) ? pick({4, 20, 64}) : pick({32, 64});
    s.n_kv_head = pick({1, 2, 3});
    s.n_head = s.n_kv_head * pick({1, 2, 4, 5});
    s.cache_page = pick({8, 32});
    PageBudget budget;
    budget.page_tokens = pick({2, 8, 16, 32, 64});
    budget.n_newest = pick({1, 1, 2});
    budget.n_pages = budget.n_newest + pick({1, 2, 3});
    budget.per_head = rng() % 2;
    s.n_tokens = budget.n_pages * budget.page_tokens + pick({1, 7, 70, 300});
    Case c(s, budget, rng);
    const std::vector<float> slopes = {0.5f, 0.25f, 0.1f, 0.7f, 0.01f, 0.3f, 0.2f, 0.6f, 0.9f, 0.4f, 0.5f, 1, 2, 1, 3},
                             sinks = normal(s.n_head, rng);
    if (i % 3 == 0) c.params.alibi_slopes = std::span(slopes).first(s.n_head);
    if (i % 4 == 0) c.params.soft_cap = 10;  // bounds do not all come to it
    if (i % 2 == 0) c.params.sinks = sinks;
    const std::vector<uint32_t> some = {uint32_t(s.n_kv_head - 1)};
    if (i % 5 == 0) c.query.all_heads = false, c.query.kv_heads = some;
    SCOPED_TRACE(fmt::format("case {}: {} tokens, d_head {}, heads {}/{}, {}, pages {} in {}, {} of them, own {}", i,
                             s.n_tokens, s.d_head, s.n_head, s.n_kv_head, name_of(s.dtype), budget.page_tokens,
                             s.cache_page, budget.n_pages, budget.per_head));
    const std::vector<float> want = c.reference();
    for (const size_t n_threads : {1, 3}) expect_near(c.run(n_threads), want, 2e-5);
    EXPECT_EQ(c.reads.n_choices, c.query.n_kv_heads() * (budget.per_head ? s.n_head / s.n_kv_head : 1));
    EXPECT_EQ(c.reads.n_read, c.reads.n_choices * budget.n_pages);
    if (HasFailure()) return;
  }
}

TEST(PageAttention, CountsSummariesAndWhatItReads) {
  std::mt19937 rng(6);
  const Shape s{.n_tokens = 150, .n_head = 4, .n_kv_head = 2, .d_head = 64};
  Case c(s, {.page_tokens = 16, .n_pages = 3}, rng);
  c.run(1);
  const uint64_t summaries = 2 * 9 * (2 * 64 * 2), keys = 2 * (2 * 16 + 6);  // 9 pages and 6 tokens
  EXPECT_EQ(c.reads.n_keys, keys);
  EXPECT_EQ(c.n_bytes, summaries + keys * 2 * (64 * 2));
  EXPECT_EQ(c.reads.n_of, 2u * 10);
  EXPECT_EQ(c.reads.n_whole, 0u);
}

// Of one KV head, so that what was read is known: the first pages in order.
TEST(PageAttention, CertifiedLeavesNoMoreThanTheToleranceUnread) {
  std::mt19937 rng(7);
  size_t n_partly = 0, n_beyond_budget = 0;
  for (size_t i = 0; i < 60; ++i) {
    const Shape s{.n_tokens = 500, .n_head = i % 2 ? 3u : 1u, .n_kv_head = 1, .d_head = 16, .dtype = DType::kF32};
    PageBudget budget{.page_tokens = 8, .n_pages = 3};
    budget.tolerance = std::array{0.3, 0.02, 1e-6}[i % 3];
    Case c(s, budget, rng);
    c.params.scale = 1;
    c.cache.make_alike(8, 0.05f * float(i % 4 + 1));
    const std::vector<float> sinks = normal(s.n_head, rng);
    if (i % 4 == 0) c.params.sinks = sinks;
    const std::vector<float> got = c.run(2), whole = c.whole();
    const PageOrder pages = order_of_pages(c.query, c.Q().row(1), 0, s.n_head, s.n_head, c.params, budget);
    const size_t n_read = c.reads.n_read - 1;
    n_partly += n_read < pages.order.size() ? 1 : 0;
    n_beyond_budget += n_read > 2 && n_read < pages.order.size() ? 1 : 0;
    EXPECT_EQ(c.reads.n_whole, n_read == pages.order.size());
    for (size_t head = 0; head < s.n_head; ++head) {
      std::vector<bool> is_read(s.n_tokens);
      const Rows slots = slots_of(std::span(pages.order).first(n_read), c.query, budget);
      slots.for_each([&](size_t slot) { is_read[slot] = true; });
      double read = 0, unread = 0;
      for (size_t slot = 0; slot < s.n_tokens; ++slot) {
        const std::vector<float> key = key_of(c.query.kv, 0, slot);
        double score = 0;
        for (size_t k = 0; k < s.d_head; ++k) score += double(c.Q().row(1)[head * s.d_head + k]) * key[k];
        (is_read[slot] ? read : unread) += std::exp(score);
      }
      EXPECT_LE(unread, budget.tolerance * (read + unread) * 1.0001) << "case " << i << ", head " << head;
    }
    // Values are below 5: what is not read moves the result by no more than twice its share of them.
    for (size_t k = 0; k < got.size(); ++k) ASSERT_NEAR(got[k], whole[k], 10 * budget.tolerance + 2e-5) << i;
  }
  EXPECT_GT(n_partly, 15u) << "something is left out";
  EXPECT_GT(n_beyond_budget, 5u) << "pages are added";
}

TEST(PageAttention, CertifiedReadsAllWhereNothingCanBeLeftOutAndLittleWhereMuchCan) {
  std::mt19937 rng(8);
  const Shape s{.n_tokens = 330, .n_head = 4, .n_kv_head = 2, .d_head = 32, .dtype = DType::kQ8_0};
  Case flat(s, {.page_tokens = 16, .n_pages = 2, .tolerance = 1e-9}, rng);
  for (const size_t n_threads : {1, 2}) expect_near(flat.run(n_threads), flat.whole(), 2e-5);
  EXPECT_EQ(flat.reads.n_whole, 2u);
  EXPECT_EQ(flat.reads.n_read, flat.reads.n_of);
  EXPECT_EQ(flat.reads.n_keys, 2u * 330);

  // One page has nearly all the weight.
  Case peak(s, {.page_tokens = 16, .n_pages = 2, .tolerance = 1e-3}, rng);
  peak.params.scale = 1;
  peak.cache.make_alike(16, 0.1f);
  for (size_t head = 0; head < s.n_head; ++head) {
    const std::vector<float> key = key_of(peak.query.kv, head / 2, 100);
    for (size_t i = 0; i < s.d_head; ++i) peak.q[(s.n_head + head) * s.d_head + i] = 3 * key[i];
  }
  expect_near(peak.run(1), peak.whole(), 1e-2);
  EXPECT_EQ(peak.reads.n_read, 2u * 2);
}

}  // namespace
}  // namespace hunch
