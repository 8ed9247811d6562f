#include "io/quantised_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"

namespace hunch {
namespace {

constexpr size_t kBlock = 32;

int bits_of(DType dtype) { return dtype == DType::kQ4_0 ? 4 : dtype == DType::kQ5_0 ? 5 : 8; }

}  // namespace

bool IntegerRow::fits(DType dtype) const {
  const int half = 1 << (bits_of(dtype) - 1);
  return has_f16_scales && lowest >= -half && highest < half;
}

IntegerRow integer_row(std::span<const int16_t> q, std::span<const float> scale) {
  IntegerRow row;
  if (q.empty() || q.size() % kBlock != 0) return row;
  const auto [lowest, highest] = std::ranges::minmax(q);
  row.lowest = lowest;
  row.highest = highest;
  for (size_t b = 0; b < q.size(); b += kBlock) {
    const float first = scale[b];
    if (!std::isfinite(first) || to_f32(to_f16(first)) != first) return row;
    for (size_t i = 1; i < kBlock; ++i)
      if (scale[b + i] != first) return row;
  }
  row.has_f16_scales = true;
  return row;
}

void write_integer_blocks(DType dtype, std::span<const int16_t> q, std::span<const float> scale, std::byte* out) {
  const int bits = bits_of(dtype), half = 1 << (bits - 1);
  for (size_t b = 0; b < q.size(); b += kBlock) {
    const f16 d = to_f16(scale[b]);
    std::memcpy(out, &d, sizeof d);
    out += sizeof d;
    if (bits == 8) {
      for (size_t i = 0; i < kBlock; ++i) out[i] = std::byte(int8_t(q[b + i]));
      out += kBlock;
      continue;
    }
    const auto code = [&](size_t i) { return uint32_t(q[b + i] + half); };
    if (bits == 5) {  // the fifth bits of all, then the lower four
      uint32_t high = 0;
      for (size_t i = 0; i < kBlock; ++i) high |= (code(i) >> 4) << i;
      std::memcpy(out, &high, sizeof high);
      out += sizeof high;
    }
    for (size_t i = 0; i < kBlock / 2; ++i) out[i] = std::byte((code(i) & 15) | (code(i + kBlock / 2) & 15) << 4);
    out += kBlock / 2;
  }
}

}  // namespace hunch
