// Attention and the cache together: how tokens came into the cache must not matter.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/attention.h"
#include "state/kv_cache.h"

namespace hunch {
namespace {

struct Random {
  KvShape shape;
  size_t n_head, n_tokens;
  std::vector<float> q, k, v;

  Random(const KvShape& s, size_t heads, size_t n) : shape(s), n_head(heads), n_tokens(n) {
    std::mt19937 rng(5);
    std::normal_distribution<float> normal;
    const auto fill = [&](size_t cols) {
      std::vector<float> x(n * cols);
      for (float& value : x) value = normal(rng);
      return x;
    };
    q = fill(heads * s.layers[0].d_head);
    k = fill(s.layers[0].n_kv_head * s.layers[0].d_head);
    v = fill(s.layers[0].n_kv_head * s.layers[0].d_head);
  }

  // Appends tokens [first, first + n) and attends from them; writes their rows of `out`.
  void step(KvCache& cache, KvCache::SequenceId id, size_t first, size_t n, std::vector<float>& out) const {
    const size_t kv_cols = shape.layers[0].n_kv_head * shape.layers[0].d_head, q_cols = n_head * shape.layers[0].d_head;
    Compute compute(2);
    cache.append(id, n);
    cache.store(id, 0, first, {k.data() + first * kv_cols, n, kv_cols}, {v.data() + first * kv_cols, n, kv_cols});
    const AttentionSpan span{cache.view(id, 0), 0, n, first};
    attention(compute, {q.data() + first * q_cols, n, q_cols}, n_head, {&span, 1},
              {.scale = 1 / std::sqrt(float(shape.layers[0].d_head)), .window = 50},
              {out.data() + first * q_cols, n, q_cols});
  }
};

// Prompts may run in AMX tiles, decoding never does.
void expect_close(const std::vector<float>& got, const std::vector<float>& want) {
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 3e-5) << "element " << i;
}

TEST(KvAttention, OnePrefillEqualsDecodeTokenByToken) {
  for (DType dtype : {DType::kF32, DType::kF16})
    for (size_t n_head : {2, 8}) {
      const Random data({{{2, 40}}, dtype, 16}, n_head, 77);
      KvCache cache(data.shape, 320);
      std::vector<float> at_once(data.q.size()), one_by_one(data.q.size()), in_chunks(data.q.size());
      data.step(cache, cache.create(), 0, 77, at_once);
      const auto second = cache.create(), third = cache.create();
      for (size_t t = 0; t < 77; ++t) data.step(cache, second, t, 1, one_by_one);
      for (size_t t = 0; t < 77; t += 7) data.step(cache, third, t, 7, in_chunks);
      expect_close(one_by_one, at_once);
      expect_close(in_chunks, at_once);
    }
}

TEST(KvAttention, AForkContinuesAsTheSequenceItWasMadeFromWouldHave) {
  const Random data({{{2, 16}}, DType::kF32, 8}, 2, 40);
  KvCache cache(data.shape, 200);
  std::vector<float> straight(data.q.size()), forked(data.q.size()), other(data.q.size());
  data.step(cache, cache.create(), 0, 40, straight);
  const auto parent = cache.create();
  data.step(cache, parent, 0, 21, forked);
  const auto child = cache.fork(parent);
  cache.truncate(parent, 10);
  data.step(cache, parent, 10, 30, other);  // the parent goes its own way through the shared pages
  data.step(cache, child, 21, 19, forked);
  expect_close(forked, straight);
}

// A long text through a small cache: attention sinks and the latest tokens (Xiao et al. 2023, "StreamingLLM"), as lists
// of keys of a cache that holds everything, and dropped from one that could not. Both heads keep lists of their own.
TEST(KvAttention, DroppedSlotsAreAsKeysThatAreNotRead) {
  for (const DType dtype : {DType::kF16, DType::kQ8_0}) {
    constexpr size_t kTokens = 20000, kChunk = 20, kCap = 300;
    const KvShape shape{{{2, 32}}, dtype, 16};
    KvCache whole(shape, kTokens), small(shape, kCap + 20);
    const auto a = whole.create(), b = small.create();
    std::mt19937 rng(3);
    std::normal_distribution<float> normal;
    std::vector<float> k(kChunk * 64), v(k.size()), q(kChunk * 128), want(q.size()), got(q.size());
    const std::vector<float> slopes = {0.5f, 0.01f, 0.0f, 0.1f};
    Compute compute(2);
    std::vector<uint32_t> kept[2];  // tokens that each head still has
    for (size_t first = 0; first < kTokens; first += kChunk) {
      for (auto* x : {&k, &v, &q})
        for (float& value : *x) value = normal(rng);
      for (auto& [cache, id] : {std::pair(&whole, a), {&small, b}}) {
        cache->append(id, kChunk);
        cache->store(id, 0, first, {k.data(), kChunk, 64}, {v.data(), kChunk, 64});
      }
      for (auto& list : kept)
        for (size_t t = first; t < first + kChunk; ++t) list.push_back(uint32_t(t));
      if (first % 500 < kChunk) {
        const Rows lists[] = {Rows::of(kept[0], first + kChunk), Rows::of(kept[1], first + kChunk)};
        AttentionSpan span{whole.view(a, 0), 0, kChunk, first};
        const AttentionParams params{.scale = 0.2f, .alibi_slopes = slopes};
        span.keys = lists;
        attention(compute, {q.data(), kChunk, 128}, 4, {&span, 1}, params, {want.data(), kChunk, 128});
        span = {small.view(b, 0), 0, kChunk, first};
        attention(compute, {q.data(), kChunk, 128}, 4, {&span, 1}, params, {got.data(), kChunk, 128});
        expect_close(got, want);
      }
      if (kept[1].size() + kChunk <= kCap) continue;
      std::vector<Rows> slots;
      for (size_t head = 0; head < 2; ++head) {
        const size_t n = kept[head].size(), n_latest = 100 + 40 * head;
        std::vector<uint32_t> ids, tokens;
        for (uint32_t slot = 0; slot < n; ++slot)
          if (slot < 4 || slot + n_latest >= n) {
            ids.push_back(slot);
            tokens.push_back(kept[head][slot]);
          }
        kept[head] = tokens;
        slots.push_back(Rows::of(ids, n));
      }
      small.keep(b, 0, slots);
      EXPECT_EQ(small.n_free_tokens(), 320u - 144u);
    }
  }
}

}  // namespace
}  // namespace hunch
