// A cache in groups, against what its tokens were: whatever was appended, taken back, forked and written again, codes
// are those of the tokens themselves and never of codes.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "base/error.h"
#include "kernels/kv_groups.h"
#include "state/kv_cache.h"
#include "state/kv_tails.h"

namespace hunch {
namespace {

// A token's keys and values in all layers and heads follow from one number.
std::vector<float> row_of(uint32_t token, size_t layer, size_t head, bool is_value, size_t d_head) {
  uint32_t state = token * 64 + uint32_t(layer * 16 + head * 2 + is_value);
  std::vector<float> row(d_head);
  for (float& x : row) {
    state = state * 1664525 + 1013904223;
    x = float(state >> 8) * 0x1p-22f - 2;
  }
  return row;
}

std::vector<f16> halves_of(const std::vector<float>& row) {
  std::vector<f16> halves;
  for (const float x : row) halves.push_back(to_f16(x));
  return halves;
}

std::vector<float> floats_of(const std::vector<f16>& halves) {
  std::vector<float> row;
  for (const f16 h : halves) row.push_back(to_f32(h));
  return row;
}

// K and V of a slot as a query at `position` is to read them.
std::vector<float> wanted(const std::vector<uint32_t>& tokens, size_t slot, size_t position, size_t bits, size_t layer,
                          size_t head, bool is_value, size_t d_head) {
  const std::vector<f16> own = halves_of(row_of(tokens[slot], layer, head, is_value, d_head));
  if (slot / kKvGroup == position / kKvGroup) return floats_of(own);
  std::vector<float> row(d_head);
  if (is_value) {
    std::vector<std::byte> bytes(kv_value_row_bytes(bits, d_head));
    pack_value_row(bits, own, bytes.data());
    ref::unpack_value(bits, bytes.data(), row);
    return row;
  }
  std::vector<f16> group;
  for (size_t t = slot / kKvGroup * kKvGroup; group.size() < kKvGroup * d_head; ++t) {
    const std::vector<f16> key = halves_of(row_of(tokens[t], layer, head, false, d_head));
    group.insert(group.end(), key.begin(), key.end());
  }
  std::vector<std::byte> bytes(kv_key_group_bytes(bits, d_head));
  pack_key_group(bits, {group.data(), kKvGroup, d_head}, bytes.data());
  ref::unpack_key(bits, bytes.data(), slot % kKvGroup, row);
  return row;
}

class Cache {
 public:
  Cache(const KvShape& shape, size_t max_tokens, uint32_t seed)
      : shape_(shape), cache_(shape, max_tokens), rng_(seed) {}

  void step() {
    const size_t action = texts_.empty() ? 0 : rng_() % 8;
    if (action == 0) {
      if (texts_.size() < 4) texts_.emplace(cache_.create(), std::vector<uint32_t>());
      return;
    }
    auto& [id, tokens] = *std::next(texts_.begin(), long(rng_() % texts_.size()));
    try {
      if (action == 1 && texts_.size() < 4) {
        const std::vector<uint32_t> copy = tokens;
        const size_t held = held_from_[id];
        const KvCache::SequenceId other = cache_.fork(id);
        texts_.emplace(other, copy);
        held_from_[other] = held;
      } else if (action == 2) {
        cache_.release(id);
        held_from_.erase(id);
        texts_.erase(id);
      } else if (action <= 4) {
        go_back(id, tokens);
      } else {
        append(id, tokens, rng_() % 4 ? 1 + rng_() % 90 : 1);
      }
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kLimit);
      ++n_refused;
    }
  }

  void check() {
    for (const auto& [id, tokens] : texts_) {
      ASSERT_EQ(cache_.n_tokens(id), tokens.size());
      if (tokens.empty()) continue;  // else as the next token is to read it
      for (size_t layer = 0; layer < shape_.n_layer(); ++layer) check(id, layer, tokens, tokens.size());
    }
  }

  size_t n_refused = 0, n_within = 0, n_moved = 0;

 private:
  void go_back(KvCache::SequenceId id, std::vector<uint32_t>& tokens) {
    const size_t wanted =
        rng_() % 3 ? tokens.size() - std::min<size_t>(tokens.size(), rng_() % 70) : rng_() % (tokens.size() + 1);
    const size_t n = cache_.back_to(id, wanted);
    ASSERT_TRUE(n == wanted || n == wanted / kKvGroup * kKvGroup) << n << " for " << wanted;
    ASSERT_TRUE(n == wanted || wanted < held_from_[id]) << wanted << " of " << tokens.size();
    n_within += n % kKvGroup != 0;
    n_moved += n != wanted;
    cache_.truncate(id, n);
    tokens.resize(n);
    held_from_[id] = std::min(held_from_[id], n);
  }

  // As a pass does: layer by layer, each attended to and then left.
  void append(KvCache::SequenceId id, std::vector<uint32_t>& tokens, size_t n) {
    cache_.append(id, n);
    const size_t first = tokens.size();
    for (size_t t = 0; t < n; ++t) tokens.push_back(uint32_t(rng_() % 100000));
    held_from_[id] = std::max(held_from_[id], tokens.size() - std::min(tokens.size(), KvTails::kKept));
    for (size_t layer = 0; layer < shape_.n_layer(); ++layer) {
      const auto [n_head, d_head] = shape_.layers[layer];
      std::vector<float> k, v;
      for (size_t t = first; t < tokens.size(); ++t)
        for (size_t head = 0; head < n_head; ++head)
          for (const bool is_value : {false, true}) {
            const std::vector<float> row = row_of(tokens[t], layer, head, is_value, d_head);
            (is_value ? v : k).insert((is_value ? v : k).end(), row.begin(), row.end());
          }
      cache_.store(id, layer, first, {k.data(), n, n_head * d_head}, {v.data(), n, n_head * d_head});
      const size_t position = first + rng_() % n;  // any query of the pass
      check(id, layer, tokens, position);
      ASSERT_EQ(cache_.n_alike(position, 1000), kKvGroup - position % kKvGroup);
      cache_.settle(id, layer);
    }
  }

  void check(KvCache::SequenceId id, size_t layer, const std::vector<uint32_t>& tokens, size_t position) {
    const auto [n_head, d_head] = shape_.layers[layer];
    if (n_head == 0) return;
    const KvView view = cache_.view(id, layer, position);
    ASSERT_EQ(view.groups.first_tail, position / kKvGroup * kKvGroup);
    const size_t row_bytes = kv_value_row_bytes(shape_.type.bits, d_head);
    // All of a few slots is enough: the newest ones, and any.
    for (size_t i = 0; i < 8; ++i) {
      const size_t last = std::min(position, tokens.size() - 1), head = rng_() % n_head;
      const size_t slot = i < 4 ? last - std::min(last, i * 11) : rng_() % (last + 1);
      std::vector<float> k(d_head), v(d_head);
      if (slot >= view.groups.first_tail) {
        ASSERT_TRUE(view.groups.tail);
        const auto* const tail = reinterpret_cast<const f16*>(view.groups.tail);
        for (size_t c = 0; c < d_head; ++c) {
          k[c] = to_f32(tail[(head * kKvGroup + slot % kKvGroup) * d_head + c]);
          v[c] = to_f32(tail[((n_head + head) * kKvGroup + slot % kKvGroup) * d_head + c]);
        }
      } else {
        const std::byte* const page = view.pages[slot / kKvGroup];
        ref::unpack_key(shape_.type.bits, page + head * kKvGroup * row_bytes, slot % kKvGroup, k);
        ref::unpack_value(shape_.type.bits,
                          page + view.v_offset_bytes + (head * kKvGroup + slot % kKvGroup) * row_bytes, v);
      }
      ASSERT_EQ(k, wanted(tokens, slot, position, shape_.type.bits, layer, head, false, d_head))
          << slot << " of " << position;
      ASSERT_EQ(v, wanted(tokens, slot, position, shape_.type.bits, layer, head, true, d_head))
          << slot << " of " << position;
    }
  }

  const KvShape shape_;
  KvCache cache_;
  std::mt19937 rng_;
  std::map<KvCache::SequenceId, std::vector<uint32_t>> texts_;  // tokens, by what they were made of
  std::map<KvCache::SequenceId, size_t> held_from_;             // the first token that can be taken back by itself
};

TEST(KvGroupsCache, HoldsTheTokensThatThereAre) {
  size_t n_refused = 0, n_within = 0, n_moved = 0;
  for (uint32_t seed = 0; seed < 4; ++seed) {
    SCOPED_TRACE(seed);
    const KvShape shape{{{2, 32}, {0, 0}, {1, 64}}, KvType::kivi(seed % 2 ? 2 : 4)};
    Cache cache(shape, 500, seed);
    for (size_t i = 0; i < 100 && !testing::Test::HasFatalFailure(); ++i) {
      cache.step();
      cache.check();
    }
    n_refused += cache.n_refused, n_within += cache.n_within, n_moved += cache.n_moved;
  }
  EXPECT_GT(n_refused, 0u);
  EXPECT_GT(n_within, 8u);
  EXPECT_GT(n_moved, 2u);
}

// What a pass takes is given back as soon as nobody reads it: a long one does not keep all of its tokens twice.
TEST(KvGroupsCache, APassThatFailsIsForgotten) {
  const KvShape shape{{{1, 32}, {1, 32}}, KvType::kivi(2)};
  KvCache cache(shape, 1024);
  const auto id = cache.create();
  const auto store = [&](size_t layer, size_t first, size_t n) {
    std::vector<float> rows(n * 32);
    for (size_t t = 0; t < n; ++t) std::fill_n(&rows[t * 32], 32, float(first + t));
    cache.store(id, layer, first, {rows.data(), n, 32}, {rows.data(), n, 32});
    cache.settle(id, layer);
  };
  cache.append(id, 45);
  store(0, 0, 45), store(1, 0, 45);
  cache.append(id, 500);
  store(0, 45, 500);  // the second layer's turn never comes
  ASSERT_EQ(cache.back_to(id, 45), 45u);
  cache.truncate(id, 45);
  std::vector<float> key(32);
  cache.load_keys(id, 0, 0, 44, {key.data(), 1, 32});
  EXPECT_EQ(key[0], 44);
  cache.append(id, 20);
  store(0, 45, 20), store(1, 45, 20);
  const KvView view = cache.view(id, 0);
  EXPECT_EQ(view.groups.first_tail, 64u);
  cache.load_keys(id, 0, 0, 40, {key.data(), 1, 32});
  EXPECT_NEAR(key[0], 40, 32.0 / 6);
}

TEST(KvGroupsCache, RefusesWhatItCannotHold) {
  const auto refused = [](const KvShape& shape) {
    try {
      KvCache cache(shape, 64);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(refused({{{1, 40}}, KvType::kivi(2)}).find("kivi-2: heads of 40"), std::string::npos);
  EXPECT_NE(refused({{{1, 48}}, KvType::rotated_of(DType::kQ4_0)}).find("q4_0-rot: heads of 48"), std::string::npos);
  EXPECT_EQ(refused({{{1, 96}}, KvType::rotated_of(DType::kQ4_0)}), "");
}

// Rotated rows come back as they were, and the outlier is worth less of its neighbours.
TEST(KvRotatedCache, KeysComeBack) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  double errors[2] = {};
  for (const bool rotated : {false, true}) {
    KvCache cache({{{1, 64}}, rotated ? KvType::rotated_of(DType::kQ4_0) : KvType(DType::kQ4_0)}, 32);
    const auto id = cache.create();
    cache.append(id, 32);
    for (size_t t = 0; t < 32; ++t) {
      std::vector<float> x(64), got(64);
      for (float& v : x) v = normal(rng);
      x[9] = 30;
      cache.store(id, 0, t, {x.data(), 1, 64}, {x.data(), 1, 64});
      cache.load_keys(id, 0, 0, t, {got.data(), 1, 64});
      for (size_t i = 0; i < 64; ++i) errors[rotated] += double(got[i] - x[i]) * (got[i] - x[i]);
    }
  }
  EXPECT_LT(errors[1], errors[0] / 2);
}

}  // namespace
}  // namespace hunch
