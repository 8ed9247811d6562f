#include "kernels/kv_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "formats/format.h"
#include "kernels/attention_merge.h"
#include "kernels/each_target.h"
#include "kernels/hadamard.h"
#include "kernels/relative_attention.h"

namespace hunch {
namespace {

std::vector<float> normal(size_t n, std::mt19937& rng) {
  std::normal_distribution<float> distribution;
  std::vector<float> x(n);
  for (float& v : x) v = distribution(rng);
  return x;
}

// A cache of these rows, [n_kv_head][n_tokens][d] keys and the same of values, on pages of `page_tokens`.
struct Cache {
  Cache(size_t n_tokens, size_t n_kv_head, size_t d, size_t page_tokens, DType dtype, bool rotated, std::mt19937& rng)
      : keys(normal(n_kv_head * n_tokens * d, rng)), values(normal(n_kv_head * n_tokens * d, rng)) {
    const size_t bytes = row_bytes(dtype, d), half = n_kv_head * page_tokens * bytes;
    for (size_t first = 0; first < n_tokens; first += page_tokens) {
      pages.emplace_back(2 * half);
      for (size_t head = 0; head < n_kv_head; ++head)
        for (size_t t = first; t < std::min(n_tokens, first + page_tokens); ++t)
          for (const auto& [rows, offset] : {std::pair{&keys, size_t{0}}, {&values, half}}) {
            std::vector<float> row(rows->begin() + ptrdiff_t((head * n_tokens + t) * d),
                                   rows->begin() + ptrdiff_t((head * n_tokens + t + 1) * d));
            if (rotated) ref::hadamard(row, hadamard_block(d));
            codec(dtype).encode(row.data(), pages.back().data() + offset + (head * page_tokens + t - first) * bytes, d);
          }
    }
    for (const auto& page : pages) table.push_back(page.data());
    view = {table, page_tokens, n_kv_head, d, dtype, half, n_tokens, {}, rotated};
  }
  std::vector<float> keys, values;
  std::vector<std::vector<std::byte>> pages;
  std::vector<const std::byte*> table;
  KvView view;
};

TEST(KvRows, AreWhatWasStored) {
  std::mt19937 rng(1);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kQ8_0})
    for (const bool rotated : {false, true}) {
      const Cache cache(37, 2, 32, 16, dtype, rotated, rng);
      std::vector<float> got(20 * 40);
      for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
        const MatView<float> out(got.data(), 20, 32, 40);
        read_kv_rows(cache.view, part, 1, 11, out);
        const std::vector<float>& want = part == KvPart::kKeys ? cache.keys : cache.values;
        for (size_t i = 0; i < 20; ++i)
          for (size_t a = 0; a < 32; ++a)
            ASSERT_NEAR(out.row(i)[a], want[(37 + 11 + i) * 32 + a], dtype == DType::kF32 ? 2e-6 : 4e-2) << i;
      }
      EXPECT_EQ(kv_row_bytes(cache.view), row_bytes(dtype, 32));
    }
}

TEST(MergeAttention, IsAttentionToBothSets) {
  std::mt19937 rng(2);
  const Cache cache(50, 2, 16, 32, DType::kF32, false, rng);
  const std::vector<float> q = normal(4 * 16, rng);
  Compute compute(1);
  const AttentionParams params{.scale = 1.5f};
  const auto attend = [&](std::vector<uint32_t> slots, std::vector<float>& stats) {
    std::vector<float> out(4 * 16);
    const std::vector<Rows> lists(2, Rows::of(std::move(slots), 50));
    AttentionSpan span{cache.view, 0, 1, 49};
    span.keys = lists;
    stats.resize(8);
    span.stats = {stats.data(), 2, 4};
    attention(compute, {q.data(), 1, 64}, 4, {&span, 1}, params, {out.data(), 1, 64});
    return out;
  };
  std::vector<uint32_t> some, others, all;
  for (uint32_t j = 0; j < 50; ++j) (j % 3 ? some : others).push_back(j), all.push_back(j);
  std::vector<float> stats, more, both;
  std::vector<float> got = attend(some, stats);
  const std::vector<float> other = attend(others, more), want = attend(all, both);
  for (size_t h = 0; h < 4; ++h)
    merge_attention(std::span(other).subspan(h * 16, 16), more[h], more[4 + h], std::span(got).subspan(h * 16, 16),
                    stats[h], stats[4 + h]);
  for (size_t i = 0; i < 64; ++i) EXPECT_NEAR(got[i], want[i], 1e-6) << i;
  for (size_t h = 0; h < 4; ++h) EXPECT_NEAR(stats[h] + std::log(stats[4 + h]), both[h] + std::log(both[4 + h]), 1e-5);

  float max = 3, sum = 0;  // nothing was seen: all is the other's
  std::vector<float> garbage(16, NAN);
  merge_attention(std::span(other).first(16), more[0], more[4], garbage, max, sum);
  EXPECT_EQ(garbage[5], other[5]);
  EXPECT_EQ(sum, more[4]);
  merge_attention(std::vector<float>(16, NAN), 0, 0, garbage, max, sum);
  EXPECT_EQ(garbage[5], other[5]);
}

TEST(RelativeAttention, MatchesTheReferenceOnEveryTarget) {
  std::mt19937 rng(3);
  const size_t n_head = 4, n_kv_head = 2;
  for (const size_t d : {10, 32, 37})
    for (const DType dtype : {DType::kF32, DType::kF16}) {
      const Cache cache(90, n_kv_head, d, 32, dtype, false, rng);
      const std::vector<float> q = normal(9 * n_head * d, rng), u = normal(n_head * d, rng),
                               v = normal(n_head * d, rng), r = normal(23 * n_head * d, rng);
      RelativeAttention params{0.2f, u, v, {r.data(), 23, n_head * d}, 30};
      for (const auto& [segment, same] : {std::pair{size_t{0}, false}, {size_t{0}, true}, {size_t{7}, false}}) {
        params.segment = segment, params.same_length = same;
        for_each_target([&] {
          const std::vector<AttentionSpan> spans = {{cache.view, 0, 1, 89}, {cache.view, 2, 7, 40}};
          for (const size_t n_threads : {1, 3}) {
            Compute compute(n_threads);
            std::vector<float> got(q.size(), 7.0f), want(q.size(), 7.0f);
            const MatView<const float> Q(q.data(), 9, n_head * d);
            relative_attention(compute, Q, n_head, spans, params, {got.data(), 9, n_head * d});
            ref::relative_attention(Q, n_head, spans, params, {want.data(), 9, n_head * d});
            for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 3e-6) << i;
          }
        });
      }
    }
}

TEST(RelativeAttention, SeesWhatItIsToldTo) {
  RelativeAttention params;
  params.memory = 10;
  EXPECT_EQ(params.first_seen(4), 0u);
  EXPECT_EQ(params.first_seen(25), 15u);  // ten before itself
  params.same_length = true;
  EXPECT_EQ(params.first_seen(25), 16u);  // ten with itself
  params.same_length = false;
  params.segment = 8;
  EXPECT_EQ(params.first_seen(25), 14u);  // its segment begins at 24
  EXPECT_EQ(params.first_seen(31), 14u);
  EXPECT_EQ(params.first_seen(32), 22u);
}

}  // namespace
}  // namespace hunch
