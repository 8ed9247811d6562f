#include "select/top_k.h"

#include <array>
#include <bit>

namespace hunch {
namespace {

// Order of magnitudes: for floats without their sign, the order of the bits is the order of the values.
uint32_t magnitude_bits(float x) { return std::bit_cast<uint32_t>(x) & 0x7fffffffu; }

// The k-th largest magnitude (1 <= k <= n), and how many rows of exactly that magnitude are among the k.
struct Threshold {
  uint32_t bits;
  size_t n_equal;
};

// Fixes the bits from the top, 11, 10 and 10 at a time, by a histogram of the rows that share those above.
Threshold kth_largest(std::span<const float> score, size_t k) {
  uint32_t prefix = 0;
  uint32_t shift = 31;
  for (uint32_t width : {11, 10, 10}) {
    std::array<uint32_t, 2048> counts{};
    const uint32_t above = shift, mask = (1u << width) - 1;
    shift -= width;
    for (float x : score) {
      const uint32_t bits = magnitude_bits(x);
      if (uint64_t{bits} >> above == uint64_t{prefix} >> above) ++counts[(bits >> shift) & mask];
    }
    uint32_t digit = mask;
    for (; counts[digit] < k; --digit) k -= counts[digit];
    prefix |= digit << shift;
  }
  return {prefix, k};
}

}  // namespace

void select_top_k(std::span<const float> score, size_t k, Rows& out) {
  if (k >= score.size()) return out.refill_all(score.size());
  std::vector<uint32_t>& rows = out.refill(score.size());
  if (k == 0) return;
  auto [threshold, n_equal] = kth_largest(score, k);
  rows.reserve(k);
  for (size_t i = 0; i < score.size(); ++i) {
    const uint32_t bits = magnitude_bits(score[i]);
    if (bits < threshold || (bits == threshold && n_equal == 0)) continue;
    n_equal -= bits == threshold;
    rows.push_back(uint32_t(i));
  }
}

}  // namespace hunch
