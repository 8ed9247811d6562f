#include "state/kv_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/error.h"
#include "base/half.h"

namespace hunch {
namespace {

const KvShape kSmall{{{3, 5}, {3, 5}}, DType::kF32, 4};

// TagRows [n, n_kv_head * d_head] whose every value names its token, so that any mix-up shows.
struct TagRows {
  std::vector<float> values;
  MatView<const float> view;
  TagRows(const KvShape& shape, size_t n, float tag) {
    const size_t cols = shape.layers[0].n_kv_head * shape.layers[0].d_head;
    for (size_t t = 0; t < n; ++t)
      for (size_t c = 0; c < cols; ++c) values.push_back(tag + float(t) + float(c) / 64);
    view = {values.data(), n, cols};
  }
};

// Appends n tokens with values tag, tag + 1, ... in K, and 1000 more in V; layer l adds 100 * l.
void grow(KvCache& cache, KvCache::SequenceId id, size_t n, float tag) {
  const size_t first = cache.n_tokens(id);
  cache.append(id, n);
  for (size_t layer = 0; layer < cache.shape().n_layer(); ++layer) {
    const TagRows k(cache.shape(), n, tag + 100 * float(layer)), v(cache.shape(), n, tag + 1000 + 100 * float(layer));
    cache.store(id, layer, first, k.view, v.view);
  }
}

float value(const KvView& view, bool v, size_t token, size_t head, size_t i) {
  const std::byte* base = view.pages[token / view.page_tokens] + (v ? view.v_offset_bytes : 0);
  const size_t index = (head * view.page_tokens + token % view.page_tokens) * view.d_head + i;
  if (view.dtype == DType::kF16) return to_f32(reinterpret_cast<const f16*>(base)[index]);
  return reinterpret_cast<const float*>(base)[index];
}

// The tags of a sequence's tokens; checks that every value of every layer, head, K and V agrees with them.
std::vector<float> tags(const KvCache& cache, KvCache::SequenceId id) {
  std::vector<float> result;
  const KvShape& shape = cache.shape();
  for (size_t layer = 0; layer < shape.n_layer(); ++layer) {
    const KvView view = cache.view(id, layer);
    EXPECT_EQ(view.n_tokens, cache.n_tokens(id));
    EXPECT_EQ(view.pages.size(), (view.n_tokens + shape.page_tokens - 1) / shape.page_tokens);
    for (size_t token = 0; token < view.n_tokens; ++token) {
      if (layer == 0) result.push_back(value(view, false, token, 0, 0));
      for (size_t head = 0; head < view.n_kv_head; ++head)
        for (size_t i = 0; i < view.d_head; ++i) {
          const float want = result[token] + 100 * float(layer) + float(head * view.d_head + i) / 64;
          EXPECT_EQ(value(view, false, token, head, i), want) << "K, token " << token << " head " << head;
          EXPECT_EQ(value(view, true, token, head, i), want + 1000) << "V, token " << token << " head " << head;
        }
    }
  }
  return result;
}

TEST(KvCache, HoldsWhatWasStoredAcrossPages) {
  KvCache cache(kSmall, 40);
  const auto id = cache.create();
  EXPECT_EQ(tags(cache, id), std::vector<float>{});
  grow(cache, id, 3, 10);
  grow(cache, id, 1, 20);  // fills the page exactly
  grow(cache, id, 6, 30);  // begins a page and ends inside another
  EXPECT_EQ(tags(cache, id), (std::vector<float>{10, 11, 12, 20, 30, 31, 32, 33, 34, 35}));
  EXPECT_EQ(cache.n_free_tokens(), 40u - 12u);
}

TEST(KvCache, StoresHalvesRoundedToNearest) {
  KvShape shape = kSmall;
  shape.type = DType::kF16;
  KvCache cache(shape, 8);
  const auto id = cache.create();
  std::vector<float> k(15), v(15);
  for (size_t i = 0; i < 15; ++i) k[i] = 0.1f * float(i), v[i] = -k[i];
  cache.append(id, 1);
  cache.store(id, 1, 0, {k.data(), 1, 15}, {v.data(), 1, 15});
  for (size_t i = 0; i < 15; ++i) {
    EXPECT_EQ(value(cache.view(id, 1), false, 0, i / 5, i % 5), to_f32(to_f16(k[i])));
    EXPECT_EQ(value(cache.view(id, 1), true, 0, i / 5, i % 5), -to_f32(to_f16(k[i])));
  }
}

TEST(KvCache, TakesRowsWithAStride) {
  KvCache cache(kSmall, 8);
  const auto id = cache.create();
  std::vector<float> rows(2 * 40, -1);  // K and V side by side, as a fused projection leaves them
  for (size_t t = 0; t < 2; ++t)
    for (size_t c = 0; c < 15; ++c) {
      rows[t * 40 + c] = float(t) + float(c) / 64;
      rows[t * 40 + 20 + c] = 1000 + float(t) + float(c) / 64;
    }
  cache.append(id, 2);
  cache.store(id, 0, 0, {rows.data(), 2, 15, 40}, {rows.data() + 20, 2, 15, 40});
  for (float& x : rows) x += 100;
  cache.store(id, 1, 0, {rows.data(), 2, 15, 40}, {rows.data() + 20, 2, 15, 40});
  EXPECT_EQ(tags(cache, id), (std::vector<float>{0, 1}));
}

TEST(KvCache, ForkSharesPagesAndNeitherSideSeesTheOthersWrites) {
  KvCache cache(kSmall, 40);
  const auto parent = cache.create();
  grow(cache, parent, 6, 10);
  const size_t free_before = cache.n_free_tokens();
  const auto child = cache.fork(parent);
  EXPECT_EQ(cache.n_free_tokens(), free_before) << "a fork takes no pages";
  EXPECT_EQ(cache.view(child, 1).pages[0], cache.view(parent, 1).pages[0]);
  grow(cache, child, 1, 50);
  EXPECT_EQ(cache.n_free_tokens(), free_before - 4) << "only the half-full page is copied";
  EXPECT_EQ(cache.view(child, 0).pages[0], cache.view(parent, 0).pages[0]) << "the full page is still shared";
  grow(cache, parent, 1, 60);
  EXPECT_EQ(cache.n_free_tokens(), free_before - 4) << "the parent now owns its page alone";
  EXPECT_EQ(tags(cache, parent), (std::vector<float>{10, 11, 12, 13, 14, 15, 60}));
  EXPECT_EQ(tags(cache, child), (std::vector<float>{10, 11, 12, 13, 14, 15, 50}));
  cache.release(parent);
  EXPECT_EQ(tags(cache, child), (std::vector<float>{10, 11, 12, 13, 14, 15, 50}));
  cache.release(child);
  EXPECT_EQ(cache.n_free_tokens(), 40u);
}

TEST(KvCache, ForkCutIntoASharedFullPageDoesNotOverwriteIt) {
  KvCache cache(kSmall, 40);
  const auto parent = cache.create();
  grow(cache, parent, 8, 10);
  const auto child = cache.fork(parent);
  cache.truncate(child, 6);  // inside the second page, which the parent keeps full
  grow(cache, child, 2, 70);
  EXPECT_EQ(tags(cache, parent), (std::vector<float>{10, 11, 12, 13, 14, 15, 16, 17}));
  EXPECT_EQ(tags(cache, child), (std::vector<float>{10, 11, 12, 13, 14, 15, 70, 71}));
}

TEST(KvCache, TruncateReturnsWholePages) {
  KvCache cache(kSmall, 16);
  const auto id = cache.create();
  grow(cache, id, 13, 10);
  EXPECT_EQ(cache.n_free_tokens(), 0u);
  cache.truncate(id, 5);
  EXPECT_EQ(cache.n_free_tokens(), 8u);
  grow(cache, id, 2, 40);
  EXPECT_EQ(tags(cache, id), (std::vector<float>{10, 11, 12, 13, 14, 40, 41}));
  cache.truncate(id, 0);
  EXPECT_EQ(cache.n_free_tokens(), 16u);
  grow(cache, id, 1, 90);
  EXPECT_EQ(tags(cache, id), std::vector<float>{90});
}

TEST(KvCache, ExhaustionIsAnErrorThatChangesNothing) {
  KvCache cache(kSmall, 16);
  const auto first = cache.create(), second = cache.create();
  grow(cache, first, 10, 10);
  grow(cache, second, 2, 30);
  const auto forked = cache.fork(second);
  for (const auto& [id, n] : {std::pair{first, size_t{3}}, {second, size_t{15}}, {forked, size_t{1}}}) {
    try {
      cache.append(id, n);
      FAIL() << "append of " << n << " tokens succeeded";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kLimit);
      EXPECT_NE(std::string(error.what()).find("KV cache is full"), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(tags(cache, first).size(), 10u);
  EXPECT_EQ(tags(cache, second), (std::vector<float>{30, 31}));
  EXPECT_EQ(tags(cache, forked), (std::vector<float>{30, 31}));
  grow(cache, first, 2, 50);  // still fits: its last page has room
  cache.release(first);
  grow(cache, second, 10, 60);  // one page copied, two new
  EXPECT_EQ(tags(cache, forked), (std::vector<float>{30, 31}));
}

TEST(KvCache, RefusesMoreMemoryThanThereIs) {
  const KvShape huge{std::vector<KvHeads>(100, {100, 256})};
  for (size_t n_tokens : {size_t{1} << 30, SIZE_MAX / 2}) try {
      KvCache cache(huge, n_tokens);
      FAIL() << "reserved " << cache.bytes();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kMemory);
    }
}

// Random histories of many sequences against a model made of plain vectors.
TEST(KvCache, BehavesLikePlainVectorsUnderRandomHistories) {
  KvShape shape = kSmall;
  shape.layers.resize(1);
  for (size_t page_tokens : {1, 3, 4}) {
    shape.page_tokens = page_tokens;
    std::mt19937 rng(7);
    KvCache cache(shape, 60);
    std::map<KvCache::SequenceId, std::vector<float>> model;
    float tag = 0;
    size_t n_refused = 0;
    const auto any = [&] { return std::next(model.begin(), rng() % model.size())->first; };
    for (size_t step = 0; step < 1500; ++step) {
      const size_t action = model.empty() ? 0 : rng() % 10;
      if (action == 0 && model.size() < 12) {
        model[cache.create()] = {};
      } else if (action == 1 && model.size() < 12) {
        const auto parent = any(), child = cache.fork(parent);
        ASSERT_EQ(model.count(child), 0u);
        model[child] = model[parent];
      } else if (action == 2) {
        const auto id = any();
        cache.release(id);
        model.erase(id);
      } else if (action == 3 && !model.empty()) {
        const auto id = any();
        const size_t n = rng() % (model[id].size() + 1);
        cache.truncate(id, n);
        model[id].resize(n);
      } else if (!model.empty()) {
        const auto id = any();
        const size_t n = rng() % 7, n_free = cache.n_free_tokens() / page_tokens, n_new = cache.n_new_pages(id, n);
        EXPECT_EQ(n_new <= n_free, n <= cache.n_room(id, n_free)) << n_new << " of " << n_free << " pages";
        try {
          grow(cache, id, n, tag);
          EXPECT_EQ(cache.n_free_tokens() / page_tokens, n_free - n_new);
          for (size_t t = 0; t < n; ++t) model[id].push_back(tag + float(t));
          tag = tag > 4000 ? 0 : tag + 8;
        } catch (const Error&) {
          EXPECT_GT(n_new, n_free);
          ++n_refused;
        }
      }
      if (step % 50 != 0) continue;
      for (const auto& [id, want] : model) ASSERT_EQ(tags(cache, id), want) << "step " << step;
    }
    EXPECT_GT(n_refused, 0u);
    while (!model.empty()) cache.release(model.begin()->first), model.erase(model.begin());
    EXPECT_EQ(cache.n_free_tokens(), (60 + page_tokens - 1) / page_tokens * page_tokens) << "pages leak";
  }
}

TEST(KvCache, CountsBytesPerToken) {
  EXPECT_EQ(KvCache::bytes_per_token(kSmall), 2u * 2 * 3 * 5 * 4);
  const KvShape shape{std::vector<KvHeads>(24, {32, 64}), DType::kF16};
  EXPECT_EQ(KvCache::bytes_per_token(shape), 24u * 2 * 2048 * 2);
  EXPECT_EQ(KvCache(shape, 64).bytes(), 64 * KvCache::bytes_per_token(shape));
  EXPECT_EQ(KvCache::bytes_per_token({{{3, 5}, {1, 64}}, DType::kF16}), (3u * 5 + 64) * 2 * 2) << "layers that differ";
}

TEST(KvCacheDeathTest, SequencesThatDoNotExistAreABug) {
  KvCache cache(kSmall, 4);
  const auto id = cache.create();
  cache.release(id);
  EXPECT_DEATH(cache.append(id, 1), "does not exist");
}

// Those that read another layer's keys: they take no memory, and hold no page when all others dropped its tokens.
TEST(KvCache, LayersWithoutHeadsTakeNothing) {
  const KvShape with{{{2, 4}, {1, 8}}, DType::kF32, 4}, without{{{2, 4}, {0, 4}, {1, 8}, {0, 8}}, DType::kF32, 4};
  EXPECT_EQ(KvCache::bytes_per_token(without), KvCache::bytes_per_token(with));
  KvCache cache(without, 32);
  EXPECT_EQ(cache.bytes(), KvCache(with, 32).bytes());
  const auto id = cache.create();
  cache.append(id, 20);
  const std::vector<float> values(20 * 8, 1.0f);
  for (const size_t layer : {0, 2}) cache.store(id, layer, 0, {values.data(), 20, 8}, {values.data(), 20, 8});
  const size_t n_free = cache.n_free_tokens();
  const std::vector<Rows> kept(2, Rows::of({0, 18, 19}, 20));
  cache.keep(id, 0, kept);
  EXPECT_EQ(cache.n_free_tokens(), n_free);
  cache.keep(id, 2, std::span(kept).first(1));
  EXPECT_EQ(cache.n_free_tokens(), n_free + 16);
  const auto copy = cache.fork(id);
  cache.append(copy, 3);
  EXPECT_EQ(cache.view(copy, 0).n_slots(0), 6u);
  cache.truncate(copy, 20);
  EXPECT_EQ(cache.view(copy, 2).n_slots(0), 3u);
}

}  // namespace
}  // namespace hunch
