#include "select/top_k.h"

#include <array>
#include <bit>

namespace hunch {
namespace {

// Order of magnitudes: for floats without their sign, the order of the bits is the order of the values.
uint32_t magnitude_key(float x) { return std::bit_cast<uint32_t>(x) & 0x7fffffffu; }
// Order of values: below zero the order of the bits is turned round. NaN is the largest, whatever its sign.
uint32_t value_key(float x) {
  const auto bits = std::bit_cast<uint32_t>(x + 0.0f);  // -0 is 0
  if (x != x) return UINT32_MAX;
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// The k-th largest key (1 <= k <= n), and how many rows of exactly that key are among the k.
struct Threshold {
  uint32_t key;
  size_t n_equal;
};

// Fixes the bits from the top, 11, 11 and 10 at a time, by a histogram of the rows that share those above.
template <class KeyOf>
Threshold kth_largest(std::span<const float> score, size_t k, const KeyOf& key_of) {
  uint32_t prefix = 0;
  uint32_t shift = 32;
  for (uint32_t width : {11, 11, 10}) {
    std::array<uint32_t, 2048> counts{};
    const uint32_t above = shift, mask = (1u << width) - 1;
    shift -= width;
    for (float x : score) {
      const uint32_t key = key_of(x);
      if (uint64_t{key} >> above == uint64_t{prefix} >> above) ++counts[(key >> shift) & mask];
    }
    uint32_t digit = mask;
    for (; counts[digit] < k; --digit) k -= counts[digit];
    prefix |= digit << shift;
  }
  return {prefix, k};
}

template <class KeyOf>
void select_by(std::span<const float> score, size_t k, Rows& out, const KeyOf& key_of) {
  if (k >= score.size()) return out.refill_all(score.size());
  std::vector<uint32_t>& rows = out.refill(score.size());
  if (k == 0) return;
  auto [threshold, n_equal] = kth_largest(score, k, key_of);
  rows.reserve(k);
  for (size_t i = 0; i < score.size(); ++i) {
    const uint32_t key = key_of(score[i]);
    if (key < threshold || (key == threshold && n_equal == 0)) continue;
    n_equal -= key == threshold;
    rows.push_back(uint32_t(i));
  }
}

}  // namespace

void select_top_k(std::span<const float> score, size_t k, Rows& out) { select_by(score, k, out, magnitude_key); }

void select_largest(std::span<const float> score, size_t k, Rows& out) { select_by(score, k, out, value_key); }

}  // namespace hunch
