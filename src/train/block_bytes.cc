#include "train/block_bytes.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace hunch {
namespace {

using ByteTable = std::array<float, 256>;

// Ascending, with 0 and 1: decade 10^(d - 6), d = 0 ... 6, has 2^d values on each side of 0, or 2^(d + 1) where there
// is one side only, in the middles of as many equal parts of 0.1 to 1.
ByteTable make_byte_table(bool is_signed) {
  ByteTable table;
  size_t n = 0;
  for (int decade = 0; decade < 7; ++decade) {
    const int n_parts = (is_signed ? 1 : 2) << decade;
    for (int part = 0; part < n_parts; ++part) {
      const double middle = (0.1 + 0.9 * (part + 0.5) / n_parts) * std::pow(10.0, decade - 6);
      table[n++] = float(middle);
      if (is_signed) table[n++] = -float(middle);
    }
  }
  table[n++] = 0;
  table[n++] = 1;
  std::ranges::sort(table);
  return table;
}

const ByteTable& byte_table(bool is_signed) {
  static const ByteTable both = make_byte_table(true), upper = make_byte_table(false);
  return is_signed ? both : upper;
}

// The nearest; of a value above 0 none that is 0 where `stays_above`.
uint8_t nearest_byte(const ByteTable& table, float x, bool stays_above) {
  const auto above = std::ranges::upper_bound(table, x);
  if (above == table.end()) return 255;
  if (above == table.begin()) return 0;
  const auto below = above - 1;
  const bool up = *above - x < x - *below || (stays_above && *below == 0 && x > 0);
  return uint8_t((up ? above : below) - table.begin());
}

}  // namespace

BlockBytes::BlockBytes(size_t n, bool is_signed) : is_signed_(is_signed) {
  const ByteTable& table = byte_table(is_signed);
  codes_.assign(n, uint8_t(std::ranges::find(table, 0.0f) - table.begin()));
  largest_.assign((n + kBlock - 1) / kBlock, 0.0f);
}

size_t BlockBytes::size_of(size_t b) const { return std::min(kBlock, codes_.size() - b * kBlock); }

void BlockBytes::read(size_t b, std::span<float> out) const {
  const ByteTable& table = byte_table(is_signed_);
  for (size_t i = 0; i < out.size(); ++i) out[i] = table[codes_[b * kBlock + i]] * largest_[b];
}

void BlockBytes::write(size_t b, std::span<const float> values) {
  const ByteTable& table = byte_table(is_signed_);
  float most = 0;
  for (const float v : values) most = std::max(most, std::abs(v));
  largest_[b] = most;
  const float inverse = most > 0 ? 1 / most : 0.0f;
  for (size_t i = 0; i < values.size(); ++i)
    codes_[b * kBlock + i] = nearest_byte(table, values[i] * inverse, !is_signed_ && values[i] > 0);
}

}  // namespace hunch
