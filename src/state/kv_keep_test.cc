// A cache from which slots are dropped, against vectors of vectors.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/error.h"
#include "formats/format.h"
#include "state/kv_cache.h"

namespace hunch {
namespace {

// What a slot should hold: rows that are made of one number each.
struct Slot {
  uint32_t position;
  float k, v;
};

std::vector<float> row_of(float x, size_t d_head) {
  std::vector<float> row(d_head);
  for (size_t i = 0; i < d_head; ++i) row[i] = x + float(i % 7) / 8;
  return row;
}

// The row after it was stored.
std::vector<float> rounded(float x, DType dtype, size_t d_head) {
  std::vector<float> row = row_of(x, d_head);
  std::vector<std::byte> bytes(row_bytes(dtype, d_head));
  codec(dtype).encode(row.data(), bytes.data(), row.size());
  codec(dtype).decode(bytes.data(), row.data(), row.size());
  return row;
}

struct Sequence {
  std::vector<float> tags;                             // by token
  size_t n_fixed = 0;                                  // tokens at the last drop
  std::vector<std::vector<std::vector<Slot>>> layers;  // [layer][head][slot]
  std::vector<std::vector<size_t>> n_complete;         // [layer][head] leading tokens that are stored
  std::vector<bool> dropped;                           // [layer] whether any slot ever was

  explicit Sequence(const KvShape& s) : dropped(s.n_layer(), false) {
    for (const KvHeads& layer : s.layers) {
      layers.emplace_back(layer.n_kv_head);
      n_complete.emplace_back(layer.n_kv_head, 0);
    }
  }
};

float key(float tag, size_t layer, size_t head) { return tag + 40 * float(layer) + 8 * float(head); }

class World {
 public:
  World(const KvShape& shape, size_t max_tokens, uint32_t seed)
      : shape_(shape), cache_(shape, max_tokens), rng_(seed) {}

  void step() {
    const size_t action = all_.empty() ? 0 : rng_() % 16;
    if (action == 0) {
      if (all_.size() < 6) all_.emplace(cache_.create(), Sequence(shape_));
      return;
    }
    auto& [id, sequence] = *std::next(all_.begin(), long(rng_() % all_.size()));
    try {
      if (action == 1 && all_.size() < 6) {
        const Sequence copy = sequence;
        all_.emplace(cache_.fork(id), copy);
      } else if (action == 2) {
        cache_.release(id);
        all_.erase(id);
      } else if (action <= 4) {
        truncate(id, sequence);
      } else if (action <= 7) {
        keep(id, sequence);
      } else if (action == 8) {
        replace(id, sequence);
      } else if (action == 9) {
        const size_t layer = rng_() % shape_.n_layer();
        fill(id, sequence, layer, rng_() % n_heads(layer));
      } else {
        append(id, sequence, rng_() % 2 ? 1 : rng_() % 9);
      }
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kLimit);
      ++n_refused;
    }
  }

  void check() const {
    for (const auto& [id, sequence] : all_) {
      ASSERT_EQ(cache_.n_tokens(id), sequence.tags.size());
      ASSERT_EQ(cache_.n_fixed(id), sequence.n_fixed);
      size_t most = 0;
      for (size_t layer = 0; layer < shape_.n_layer(); ++layer) {
        const KvView view = cache_.view(id, layer);
        ASSERT_EQ(view.positions.empty(), !sequence.dropped[layer]);
        for (size_t head = 0; head < n_heads(layer); ++head) {
          const std::vector<Slot>& want = sequence.layers[layer][head];
          most = std::max(most, want.size());
          ASSERT_EQ(cache_.n_complete(id, layer, head), sequence.n_complete[layer][head]);
          ASSERT_EQ(cache_.n_slots(id, layer, head), want.size());
          ASSERT_EQ(view.n_slots(head), want.size());
          for (size_t slot = 0; slot < want.size(); ++slot) {
            ASSERT_EQ(view.position(head, slot), want[slot].position);
            if (want[slot].position >= sequence.n_complete[layer][head]) break;
            const size_t bytes = row_bytes(shape_.type.dtype, view.d_head);
            const std::byte* at =
                view.pages[slot / view.page_tokens] + (head * view.page_tokens + slot % view.page_tokens) * bytes;
            std::vector<float> k(view.d_head), v(view.d_head);
            codec(shape_.type.dtype).decode(at, k.data(), k.size());
            codec(shape_.type.dtype).decode(at + view.v_offset_bytes, v.data(), v.size());
            ASSERT_EQ(k, rounded(want[slot].k, shape_.type.dtype, view.d_head))
                << "layer " << layer << " head " << head << " slot " << slot;
            ASSERT_EQ(v, rounded(want[slot].v, shape_.type.dtype, view.d_head))
                << "layer " << layer << " head " << head << " slot " << slot;
          }
        }
        ASSERT_GE(view.pages.size() * view.page_tokens, most);
      }
      ASSERT_EQ(cache_.view(id, 0).pages.size(), (most + shape_.page_tokens - 1) / shape_.page_tokens)
          << "pages that nobody needs, or needs and has not";
    }
  }

  void release_all() {
    for (const auto& [id, sequence] : all_) cache_.release(id);
    all_.clear();
  }
  size_t n_free_tokens() const { return cache_.n_free_tokens(); }
  size_t n_refused = 0, n_dropped = 0;

 private:
  void append(KvCache::SequenceId id, Sequence& sequence, size_t n) {
    const size_t first = sequence.tags.size();
    for (size_t layer = 0; layer < shape_.n_layer(); ++layer)  // before one is too far behind
      for (size_t head = 0; head < n_heads(layer); ++head)
        if (first + n >= sequence.n_complete[layer][head] + KvCache::kMaxDeferred) fill(id, sequence, layer, head);
    cache_.append(id, n);
    for (size_t t = first; t < first + n; ++t) {
      sequence.tags.push_back(float(rng_() % 64));
      for (size_t layer = 0; layer < shape_.n_layer(); ++layer)
        for (size_t head = 0; head < n_heads(layer); ++head) {
          const float k = key(sequence.tags[t], layer, head);
          sequence.layers[layer][head].push_back({uint32_t(t), k, -k});
        }
    }
    for (size_t layer = 0; layer < shape_.n_layer(); ++layer) {
      const bool behind = std::ranges::min(sequence.n_complete[layer]) < first;
      if (behind || rng_() % 4 == 0) {
        for (size_t t = first; t < first + n; ++t) cache_.defer(id, layer, t, std::vector<float>{sequence.tags[t]});
        continue;
      }
      std::vector<float> K, V;
      for (size_t t = first; t < first + n; ++t)
        for (size_t head = 0; head < n_heads(layer); ++head) {
          const float k = key(sequence.tags[t], layer, head);
          const std::vector<float> k_row = row_of(k, shape_.layers[layer].d_head),
                                   v_row = row_of(-k, shape_.layers[layer].d_head);
          K.insert(K.end(), k_row.begin(), k_row.end());
          V.insert(V.end(), v_row.begin(), v_row.end());
        }
      const size_t cols = n_heads(layer) * shape_.layers[layer].d_head;
      cache_.store(id, layer, first, {K.data(), n, cols}, {V.data(), n, cols});
      for (size_t& complete : sequence.n_complete[layer]) complete = first + n;
    }
  }

  // Stores the keys that a head lacks, of what was kept to make them from.
  void fill(KvCache::SequenceId id, Sequence& sequence, size_t layer, size_t head) {
    size_t& complete = sequence.n_complete[layer][head];
    for (; complete < sequence.tags.size(); ++complete) {
      const float k = key(cache_.deferred_input(id, layer, complete)[0], layer, head);
      const std::vector<float> K = row_of(k, shape_.layers[layer].d_head), V = row_of(-k, shape_.layers[layer].d_head);
      cache_.store_head(id, layer, head, complete, {K.data(), 1, K.size()}, {V.data(), 1, V.size()});
    }
  }

  void truncate(KvCache::SequenceId id, Sequence& sequence) {
    const size_t n_tokens = sequence.tags.size(), n_free = n_tokens - sequence.n_fixed;
    const size_t n = rng_() % 10 == 0 ? 0 : sequence.n_fixed + rng_() % (n_free + 1);
    cache_.truncate(id, n);
    if (n == 0) sequence = Sequence(shape_);
    sequence.tags.resize(n);
    for (size_t layer = 0; layer < shape_.n_layer(); ++layer)
      for (size_t head = 0; head < n_heads(layer); ++head) {
        std::erase_if(sequence.layers[layer][head], [&](const Slot& slot) { return slot.position >= n; });
        sequence.n_complete[layer][head] = std::min(sequence.n_complete[layer][head], n);
      }
  }

  void keep(KvCache::SequenceId id, Sequence& sequence) {
    const size_t layer = rng_() % shape_.n_layer();
    std::vector<Rows> lists;
    bool drops = false;
    for (size_t head = 0; head < n_heads(layer); ++head) {
      const size_t n = sequence.layers[layer][head].size(), kind = rng_() % 4;
      std::vector<uint32_t> ids;
      for (uint32_t slot = 0; slot < n; ++slot)
        if (kind > 1 || (kind == 1 ? slot < 3 || slot + 5 > n : rng_() % 3 != 0)) ids.push_back(slot);
      lists.push_back(kind == 3 ? Rows::all(n) : Rows::of(ids, n));
      if (lists.back().size() < n) {
        drops = true;
        fill(id, sequence, layer, head);
      }
    }
    cache_.keep(id, layer, lists);
    for (size_t head = 0; head < n_heads(layer); ++head) {
      std::vector<Slot>& slots = sequence.layers[layer][head];
      if (lists[head].is_all()) continue;
      std::vector<Slot> kept;
      for (const uint32_t slot : lists[head].ids()) kept.push_back(slots[slot]);
      n_dropped += slots.size() - kept.size();
      slots = kept;
    }
    if (!drops) return;
    sequence.dropped[layer] = true;
    sequence.n_fixed = sequence.tags.size();
  }

  // Reads some keys of a head and writes them back changed, as a rotation would.
  void replace(KvCache::SequenceId id, Sequence& sequence) {
    const size_t layer = rng_() % shape_.n_layer(), head = rng_() % n_heads(layer),
                 d_head = shape_.layers[layer].d_head;
    std::vector<Slot>& slots = sequence.layers[layer][head];
    fill(id, sequence, layer, head);
    const size_t first = rng_() % (slots.size() + 1), n = rng_() % (slots.size() - first + 1);
    std::vector<float> K(n * d_head + 1, -1.0f);
    cache_.load_keys(id, layer, head, first, {K.data(), n, d_head});
    EXPECT_EQ(K.back(), -1.0f);
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(std::vector<float>(&K[i * d_head], &K[(i + 1) * d_head]),
                rounded(slots[first + i].k, shape_.type.dtype, d_head));
      std::ranges::copy(row_of(slots[first + i].k + 1, d_head), &K[i * d_head]);
    }
    cache_.replace_keys(id, layer, head, first, {K.data(), n, d_head});
    for (size_t i = 0; i < n; ++i) slots[first + i].k += 1;
  }

  size_t n_heads(size_t layer) const { return shape_.layers[layer].n_kv_head; }

  KvShape shape_;
  KvCache cache_;
  std::mt19937 rng_;
  std::map<KvCache::SequenceId, Sequence> all_;
};

TEST(KvKeep, BehavesLikeVectorsOfVectorsUnderRandomHistories) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0})
    for (const size_t page_tokens : {1, 4, 7}) {
      SCOPED_TRACE(fmt::format("{}, pages of {}", name_of(dtype), page_tokens));
      const size_t d_head = info(dtype).block_elems == 1 ? 3 : 32;
      World world({{{3, d_head}, {2, 2 * d_head}}, dtype, page_tokens}, 63, uint32_t(page_tokens));
      for (size_t step = 0; step < 1200 && !testing::Test::HasFailure(); ++step) {
        world.step();
        if (step % 7 == 0) world.check();
      }
      if (testing::Test::HasFailure()) return;
      EXPECT_GT(world.n_refused, 10u);
      EXPECT_GT(world.n_dropped, 300u);
      world.release_all();
      EXPECT_EQ(world.n_free_tokens(), (63 + page_tokens - 1) / page_tokens * page_tokens) << "pages leak";
    }
}

TEST(KvKeep, RefusesHeadsThatBlocksDoNotFill) {
  for (const auto& [dtype, d_head] : {std::pair{DType::kQ8_0, size_t{80}}, {DType::kIQ3_S, size_t{256}}}) try {
      KvCache cache({{{1, d_head}}, dtype}, 32);
      ADD_FAILURE() << "a cache of " << name_of(dtype);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
      EXPECT_NE(std::string(error.what()).find(name_of(dtype)), std::string::npos) << error.what();
    }
}

TEST(KvKeepDeathTest, NeitherRollbackNorLateKeysReachAcrossADrop) {
  const KvShape shape{{{1, 1}}, DType::kF32, 4};
  KvCache cache(shape, 16);
  const auto id = cache.create();
  const float x[] = {1, 2, 3};
  const Rows some[] = {Rows::of({0, 2}, 3)};
  cache.append(id, 3);
  cache.store(id, 0, 0, {x, 3, 1}, {x, 3, 1});
  cache.defer(id, 0, 2, x);
  EXPECT_DEATH(cache.keep(id, 0, some), "keys of tokens from 2 are missing");
  cache.store(id, 0, 2, {x, 1, 1}, {x, 1, 1});
  cache.keep(id, 0, some);
  cache.append(id, 1);
  EXPECT_DEATH(cache.truncate(id, 2), "some were dropped at 3");
  EXPECT_DEATH(cache.store(id, 0, 1, {x, 1, 1}, {x, 1, 1}), "token 1 of layer 0, head 0 was dropped");
  cache.truncate(id, 3);
  EXPECT_EQ(cache.n_slots(id, 0, 0), 2u);
  cache.truncate(id, 0);
  EXPECT_EQ(cache.n_slots(id, 0, 0), 0u);
  EXPECT_TRUE(cache.view(id, 0).positions.empty());
}

}  // namespace
}  // namespace hunch
