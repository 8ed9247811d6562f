// The keys that patterns give to queries, against what the paper says, in double precision.
#include "select/prompt_key_lists.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "select/test_pages.h"

namespace hunch {
namespace {

using Ids = std::vector<uint32_t>;
constexpr size_t kBlock = PromptPattern::kQueryBlock;

Ids ids_of(const Rows& rows) {
  Ids ids;
  rows.for_each([&](size_t i) { ids.push_back(uint32_t(i)); });
  return ids;
}

TEST(PromptKeyLists, OfAShapeAreItsEnds) {
  const PromptPattern pattern = prompt_pattern_from("a-shape:10,sinks=4");
  Ids keys;
  a_shape_keys(pattern, 20, 3, keys);
  EXPECT_EQ(keys, (Ids{0, 1, 2, 3, 15, 16, 17, 18, 19, 20, 21, 22})) << "20 reads six, itself among them";
  keys.clear();
  a_shape_keys(pattern, 7, 2, keys);
  EXPECT_EQ(keys, (Ids{0, 1, 2, 3, 4, 5, 6, 7, 8})) << "the ends meet, no key twice";
}

TEST(PromptKeyLists, OfVerticalsAndSlashesAreBoth) {
  Ids keys;
  vertical_slash_keys(Ids{1, 70, 300}, Ids{0, 100, 131, 500}, 128, 4, keys);
  // Distance 100 of queries 128 to 131, 131 of the last one only, nothing beyond the text's beginning.
  EXPECT_EQ(keys, (Ids{0, 1, 28, 29, 30, 31, 70, 128, 129, 130, 131}));
}

TEST(PromptKeyLists, LargestVotesComeAfterThoseThatAreAlwaysThere) {
  Ids kept;
  const std::vector<float> votes = {0, 5, 1, 9, 5, 2};
  largest_votes(votes, 1, 3, kept);
  EXPECT_EQ(kept, (Ids{0, 1, 3}));
  largest_votes(votes, 4, 2, kept);
  EXPECT_EQ(kept, (Ids{0, 1}));
  largest_votes(votes, 0, 10, kept);
  EXPECT_EQ(kept.size(), 6u);
}

struct Prompt {
  Prompt(size_t n, size_t n_chunk, size_t n_kv_head, size_t group, DType type, bool rotated, std::mt19937& rng)
      : cache(n, n_kv_head, 32, 16, type, rng), q(n_chunk * n_kv_head * group * 32) {
    cache.view.rotated = rotated;
    std::normal_distribution<float> normal;
    for (float& v : q) v = 2 * normal(rng);
    params.scale = 1 / std::sqrt(32.0f);
    chunk.emplace(PromptChunk{
        0, {q.data(), n_chunk, n_kv_head * group * 32}, n_kv_head * group, n - n_chunk, params, cache.view});
    for (size_t p = n - n_chunk; p < n;) {
      const size_t n_span = std::min(n - p, kBlock - p % kBlock);
      spans.push_back({cache.view, p - (n - n_chunk), n_span, p});
      p += n_span;
    }
  }
  // What the softmax of the query of row t and head h gives to the keys up to it.
  std::vector<double> weights(size_t t, size_t h) const {
    const size_t group = chunk->n_head / cache.view.n_kv_head;
    std::vector<double> w;
    double sum = 0;
    for (size_t j = 0; j <= chunk->first_position + t; ++j) {
      const std::vector<float> k = key_of(cache.view, h / group, j);
      w.push_back(std::exp(params.scale *
                           std::inner_product(k.begin(), k.end(), chunk->Q.row(t).begin() + ptrdiff_t(h * 32), 0.0)));
      sum += w.back();
    }
    for (double& v : w) v /= sum;
    return w;
  }
  RandomCache cache;
  std::vector<float> q;
  AttentionParams params;
  std::optional<PromptChunk> chunk;
  std::vector<AttentionSpan> spans;
};

// The n largest, of which the first n_always are there whatever they are.
std::set<uint32_t> largest(const std::vector<double>& votes, size_t n_always, size_t n) {
  Ids ids(votes.size());
  std::iota(ids.begin(), ids.end(), 0u);
  std::ranges::stable_sort(ids, std::greater<>(), [&](uint32_t i) { return i < n_always ? 1e9 : votes[i]; });
  return {ids.begin(), ids.begin() + ptrdiff_t(std::min(n, ids.size()))};
}

// Verticals and slashes by what the chunk's last queries gave to keys and to distances.
TEST(PromptKeyLists, OfVerticalSlashAreTheLastQueriesChoice) {
  std::mt19937 rng(3);
  for (size_t round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    const size_t group = 1 + round % 3;
    const Prompt prompt(300 + 37 * round, 150, 2, group, round % 2 ? DType::kQ8_0 : DType::kF32, round == 3, rng);
    const PromptPattern pattern =
        prompt_pattern_from(fmt::format("vertical-slash:120,sinks=5,queries={}", 1 + 8 * round));
    std::vector<AttentionSpan> spans = prompt.spans;
    std::vector<Rows> lists;
    Compute compute(2);
    limit_prompt(compute, PromptPatterns(pattern), *prompt.chunk, spans, lists);
    const size_t end = prompt.cache.view.n_tokens, n_rows = prompt.chunk->Q.rows;
    for (size_t head = 0; head < 2; ++head) {
      std::vector<double> keys(end), distances(end);
      for (size_t t = n_rows - pattern.queries; t < n_rows; ++t)
        for (size_t h = head * group; h < (head + 1) * group; ++h) {
          const std::vector<double> w = prompt.weights(t, h);
          for (size_t j = 0; j < w.size(); ++j) keys[j] += w[j], distances[w.size() - 1 - j] += w[j];
        }
      const std::set<uint32_t> verticals = largest(keys, 5, 56), slashes = largest(distances, 64, 64);
      for (const AttentionSpan& span : spans) {
        std::set<uint32_t> want;
        for (size_t p = span.first_pos; p < span.first_pos + span.n_tokens; ++p) {
          for (const uint32_t d : slashes)
            if (d <= p) want.insert(uint32_t(p - d));
        }
        for (const uint32_t v : verticals)
          if (v < span.first_pos + span.n_tokens) want.insert(v);
        if (span.first_pos + span.n_tokens <= 120) {
          EXPECT_TRUE(span.keys[head].is_all());
          continue;
        }
        EXPECT_EQ(ids_of(span.keys[head]), Ids(want.begin(), want.end())) << "queries from " << span.first_pos;
      }
    }
  }
}

// Blocks by the mean key and the mean query of each head, whose softmaxes are summed.
TEST(PromptKeyLists, OfBlocksAreThoseOfTheMeanQuery) {
  std::mt19937 rng(4);
  for (size_t round = 0; round < 4; ++round) {
    SCOPED_TRACE(round);
    const size_t group = 1 + round % 3, n = 700 + 50 * round;
    const Prompt prompt(n, 200, 2, group, round % 2 ? DType::kF16 : DType::kF32, round == 2, rng);
    std::vector<AttentionSpan> spans = prompt.spans;
    std::vector<Rows> lists;
    Compute compute(1);
    limit_prompt(compute, PromptPatterns(prompt_pattern_from("blocks:256")), *prompt.chunk, spans, lists);
    for (size_t head = 0; head < 2; ++head)
      for (const AttentionSpan& span : spans) {
        const size_t own = span.first_pos / kBlock;
        std::vector<double> votes(own);
        for (size_t h = head * group; h < (head + 1) * group; ++h) {
          std::vector<double> q(32), w;
          for (size_t t = 0; t < span.n_tokens; ++t)
            for (size_t i = 0; i < 32; ++i)
              q[i] += double(prompt.chunk->Q.row(span.first_token + t)[h * 32 + i]) / double(span.n_tokens);
          double sum = 0;
          for (size_t b = 0; b < own; ++b) {
            double s = 0;
            for (size_t j = b * kBlock; j < (b + 1) * kBlock; ++j) {
              const std::vector<float> k = key_of(prompt.cache.view, head, j);
              for (size_t i = 0; i < 32; ++i) s += q[i] * k[i] / kBlock;
            }
            w.push_back(std::exp(s * prompt.params.scale));
            sum += w.back();
          }
          for (size_t b = 0; b < own; ++b) votes[b] += w[b] / sum;
        }
        std::set<uint32_t> blocks = largest(votes, 1, 3);
        blocks.insert(uint32_t(own));
        Ids want;
        for (const uint32_t b : blocks)
          for (size_t j = b * kBlock; j < std::min((b + 1) * kBlock, span.first_pos + span.n_tokens); ++j)
            want.push_back(uint32_t(j));
        EXPECT_EQ(ids_of(span.keys[head]), want) << "queries from " << span.first_pos;
      }
  }
}

TEST(PromptKeyLists, HeadsHaveTheirOwnAndShortTextsAreRead) {
  std::mt19937 rng(5);
  const Prompt prompt(256, 128, 2, 1, DType::kF32, false, rng);
  std::vector<AttentionSpan> spans = prompt.spans;
  std::vector<Rows> lists;
  Compute compute(1);
  const PromptPatterns own({{{}, prompt_pattern_from("a-shape:192,sinks=8")}});
  limit_prompt(compute, own, *prompt.chunk, spans, lists);
  EXPECT_TRUE(spans[0].keys[0].is_all()) << "dense";
  EXPECT_TRUE(spans[0].keys[1].is_all()) << "192 tokens are within the budget";
  EXPECT_TRUE(spans[1].keys[0].is_all());
  EXPECT_EQ(spans[1].keys[1].size(), 8u + 183 + 64);
}

}  // namespace
}  // namespace hunch
