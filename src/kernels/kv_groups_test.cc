#include "kernels/kv_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "formats/kv_type.h"

namespace hunch {
namespace {

std::vector<f16> halves(size_t n, std::mt19937& rng, float scale) {
  std::normal_distribution<float> normal(0.5f, scale);
  std::vector<f16> x(n);
  for (f16& h : x) h = to_f16(normal(rng));
  return x;
}

// Each number is at most half a step from what it was, a step being its group's range by its codes, and the range's
// ends are where they were but for what f16 rounds.
TEST(KvGroups, CodesAreTheNearest) {
  std::mt19937 rng(3);
  for (const size_t bits : {2, 4})
    for (const size_t d : {32, 64, 96, 128}) {
      const std::vector<f16> x = halves(kKvGroup * d, rng, 2);
      const MatView<const f16> K(x.data(), kKvGroup, d);
      std::vector<std::byte> group(kv_key_group_bytes(bits, d)), row(kv_value_row_bytes(bits, d));
      pack_key_group(bits, K, group.data());
      std::vector<float> got(d);
      const float most = float((1u << bits) - 1);
      for (size_t t = 0; t < kKvGroup; ++t) {
        ref::unpack_key(bits, group.data(), t, got);
        for (size_t c = 0; c < d; ++c) {
          float low = INFINITY, high = -INFINITY;
          for (size_t i = 0; i < kKvGroup; ++i) {
            low = std::min(low, to_f32(K.row(i)[c]));
            high = std::max(high, to_f32(K.row(i)[c]));
          }
          ASSERT_LE(std::abs(got[c] - to_f32(K.row(t)[c])), (high - low) / most * 0.501f + 0.002f) << t << " " << c;
        }
        pack_value_row(bits, K.row(t), row.data());
        ref::unpack_value(bits, row.data(), got);
        for (size_t c = 0; c < d; ++c) {
          const auto block = K.row(t).subspan(c / kKvGroup * kKvGroup, kKvGroup);
          float low = INFINITY, high = -INFINITY;
          for (const f16 h : block) low = std::min(low, to_f32(h)), high = std::max(high, to_f32(h));
          ASSERT_LE(std::abs(got[c] - to_f32(K.row(t)[c])), (high - low) / most * 0.501f + 0.002f) << t << " " << c;
        }
      }
    }
}

// An outlier channel costs its own range and no other channel's (Liu et al. 2024, section 3.1).
TEST(KvGroups, KeysHaveAScaleForEachChannel) {
  std::mt19937 rng(4);
  const size_t d = 64;
  std::vector<f16> x = halves(kKvGroup * d, rng, 0.1f), without = x;
  for (size_t t = 0; t < kKvGroup; ++t) x[t * d + 7] = to_f16(100.0f + float(t));
  std::vector<std::byte> a(kv_key_group_bytes(2, d)), b(a.size());
  pack_key_group(2, {x.data(), kKvGroup, d}, a.data());
  pack_key_group(2, {without.data(), kKvGroup, d}, b.data());
  std::vector<float> with_it(d), without_it(d);
  for (size_t t = 0; t < kKvGroup; ++t) {
    ref::unpack_key(2, a.data(), t, with_it);
    ref::unpack_key(2, b.data(), t, without_it);
    for (size_t c = 0; c < d; ++c)
      if (c != 7) {
        ASSERT_EQ(with_it[c], without_it[c]);
      }
    EXPECT_NEAR(with_it[7], 100 + double(t), 5.3);
  }
}

TEST(KvGroups, EqualAndHugeNumbersStayThemselves) {
  const size_t d = 32;
  std::vector<f16> x(kKvGroup * d, to_f16(-3.5f));
  for (size_t t = 0; t < kKvGroup; ++t) x[t * d] = to_f16(60000.0f);
  std::vector<std::byte> group(kv_key_group_bytes(2, d));
  pack_key_group(2, {x.data(), kKvGroup, d}, group.data());
  std::vector<float> got(d);
  ref::unpack_key(2, group.data(), 31, got);
  EXPECT_EQ(got[0], 60000.0f);
  EXPECT_EQ(got[1], -3.5f);
}

TEST(KvGroups, TakeTheBytesThatTheirTypeSays) {
  for (const size_t bits : {2, 4}) {
    EXPECT_EQ(kv_value_bytes(KvType::kivi(uint8_t(bits)), 128), kv_value_row_bytes(bits, 128));
    EXPECT_EQ(kv_key_group_bytes(bits, 128), 4 * 128 + 32 * 128 * bits / 8);
  }
}

}  // namespace
}  // namespace hunch
