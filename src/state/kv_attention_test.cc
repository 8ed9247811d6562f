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
    q = fill(heads * s.d_head);
    k = fill(s.n_kv_head * s.d_head);
    v = fill(s.n_kv_head * s.d_head);
  }

  // Appends tokens [first, first + n) and attends from them; writes their rows of `out`.
  void step(KvCache& cache, KvCache::SequenceId id, size_t first, size_t n, std::vector<float>& out) const {
    const size_t kv_cols = shape.n_kv_head * shape.d_head, q_cols = n_head * shape.d_head;
    Compute compute(2);
    cache.append(id, n);
    cache.store(id, 0, first, {k.data() + first * kv_cols, n, kv_cols}, {v.data() + first * kv_cols, n, kv_cols});
    const AttentionSpan span{cache.view(id, 0), 0, n, first};
    attention(compute, {q.data() + first * q_cols, n, q_cols}, n_head, {&span, 1},
              {.scale = 1 / std::sqrt(float(shape.d_head)), .window = 50}, {out.data() + first * q_cols, n, q_cols});
  }
};

void expect_close(const std::vector<float>& got, const std::vector<float>& want) {
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5) << "element " << i;
}

TEST(KvAttention, OnePrefillEqualsDecodeTokenByToken) {
  for (DType dtype : {DType::kF32, DType::kF16})
    for (size_t n_head : {2, 8}) {
      const Random data({.n_layer = 1, .n_kv_head = 2, .d_head = 40, .dtype = dtype, .page_tokens = 16}, n_head, 77);
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
  const Random data({.n_layer = 1, .n_kv_head = 2, .d_head = 16, .page_tokens = 8}, 2, 40);
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

}  // namespace
}  // namespace hunch
