#include "state/deferred_inputs.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "state/kv_cache.h"

namespace hunch {
namespace {

std::vector<float> input_of(size_t layer, size_t token) { return {float(layer), float(token), float(token) * 0.5f}; }

TEST(DeferredInputs, KeepsInputsUntilEveryHeadHasThem) {
  DeferredInputs d({3, 3});
  EXPECT_EQ(d.n_complete(1, 0), SIZE_MAX);
  EXPECT_EQ(d.n_complete(), SIZE_MAX);
  for (size_t token = 10; token < 10 + DeferredInputs::kCapacity; ++token) d.keep(1, token, input_of(1, token));
  EXPECT_EQ(d.n_complete(1, 2), 10u);
  EXPECT_EQ(d.n_complete(0, 2), SIZE_MAX) << "the other layer never deferred";
  for (size_t token = 10; token < 10 + DeferredInputs::kCapacity; ++token) {
    const std::span<const float> x = d.input(1, token);
    EXPECT_EQ(std::vector<float>(x.begin(), x.end()), input_of(1, token));
  }
  for (size_t head = 0; head < 3; ++head) d.complete(1, head, 10, 20 + head);
  d.complete(1, 0, 5, 12);  // stored again: nothing is lost
  EXPECT_EQ(d.n_complete(1, 0), 20u);
  EXPECT_EQ(d.n_complete(), 20u);
  d.truncate(21);
  EXPECT_EQ(d.n_complete(1, 0), 20u);
  EXPECT_EQ(d.n_complete(1, 2), 21u);
}

TEST(DeferredInputsDeathTest, NoInputIsOverwrittenAndNoTokenSkipped) {
  DeferredInputs d({2});
  for (size_t token = 0; token < DeferredInputs::kCapacity; ++token) d.keep(0, token, input_of(0, token));
  EXPECT_DEATH(d.keep(0, DeferredInputs::kCapacity, input_of(0, 0)), "a head has only 0");
  EXPECT_DEATH(d.complete(0, 0, 1, 2), "are missing");
}

// Random life of forked, cut and released sequences: what is stored late is what is read, and no other's.
TEST(DeferredInputs, SequencesKeepTheirOwnKeysThroughForksAndCuts) {
  const KvShape kShape{{{3, 2}, {3, 2}}, DType::kF32, 4};
  KvCache cache(kShape, 800);
  std::mt19937 rng(1);
  struct Sequence {
    KvCache::SequenceId id;
    std::vector<float> tags;  // by token
  };
  std::vector<Sequence> all = {{cache.create(), {}}};
  float tag = 1;
  const auto fill = [&](Sequence& s, size_t layer, size_t head) {
    for (size_t t = cache.n_complete(s.id, layer, head); t < s.tags.size(); ++t) {
      const float x = cache.deferred_input(s.id, layer, t)[0];
      const float k[] = {x + float(head), x + 0.5f}, v[] = {-x - float(head), -x};
      cache.store_head(s.id, layer, head, t, {k, 1, 2}, {v, 1, 2});
    }
  };
  for (int step = 0; step < 1500; ++step) {
    Sequence& s = all[rng() % all.size()];
    switch (rng() % 8) {
      default: {
        if (s.tags.size() >= 100) break;
        cache.append(s.id, 1);
        s.tags.push_back(tag++);
        for (size_t layer = 0; layer < 2; ++layer) {
          const float x[] = {s.tags.back() + 1000 * float(layer)};
          for (size_t head = 0; head < 3; ++head)  // none falls too far behind
            if (s.tags.size() - cache.n_complete(s.id, layer, head) >= KvCache::kMaxDeferred) {
              s.tags.pop_back();
              fill(s, layer, head);
              s.tags.push_back(tag - 1);
            }
          cache.defer(s.id, layer, s.tags.size() - 1, x);
        }
        break;
      }
      case 5: fill(s, rng() % 2, rng() % 3); break;
      case 6: {
        const size_t n = s.tags.size() - std::min<size_t>(s.tags.size(), rng() % 5);
        cache.truncate(s.id, n);
        s.tags.resize(n);
        break;
      }
      case 7:
        if (all.size() < 5) {
          const Sequence copy{cache.fork(s.id), s.tags};
          all.push_back(copy);
        } else if (all.size() > 1) {
          cache.release(s.id);
          std::swap(s, all.back());
          all.pop_back();
        }
    }
  }
  size_t n_tokens = 0;
  for (Sequence& s : all)
    for (size_t layer = 0; layer < 2; ++layer)
      for (size_t head = 0; head < 3; ++head) {
        fill(s, layer, head);
        const KvView view = cache.view(s.id, layer);
        for (size_t t = 0; t < s.tags.size(); ++t, ++n_tokens) {
          const auto* k = reinterpret_cast<const float*>(view.pages[t / 4]) + (head * 4 + t % 4) * 2;
          const auto* v =
              reinterpret_cast<const float*>(view.pages[t / 4] + view.v_offset_bytes) + (head * 4 + t % 4) * 2;
          const float x = s.tags[t] + 1000 * float(layer);
          ASSERT_EQ(k[0], x + float(head)) << "token " << t;
          ASSERT_EQ(v[1], -x) << "token " << t;
        }
      }
  EXPECT_GT(n_tokens, 100u);
}

TEST(DeferredInputs, StoringAllHeadsCatchesUp) {
  const KvShape kShape{{{2, 1}}, DType::kF32, 4};
  KvCache cache(kShape, 16);
  const auto id = cache.create();
  cache.append(id, 3);
  const float kv[] = {1, 2, 3, 4, 5, 6}, x[] = {7};
  cache.store(id, 0, 0, {kv, 1, 2}, {kv, 1, 2});
  EXPECT_EQ(cache.n_complete(id, 0, 1), 3u) << "nothing was deferred";
  cache.defer(id, 0, 1, x);
  EXPECT_EQ(cache.n_complete(id, 0, 1), 1u);
  cache.store(id, 0, 1, {kv, 2, 2}, {kv, 2, 2});
  EXPECT_EQ(cache.n_complete(id, 0, 1), 3u);
  cache.truncate(id, 0);
  EXPECT_EQ(cache.n_complete(id, 0, 1), 0u);
}

}  // namespace
}  // namespace hunch
