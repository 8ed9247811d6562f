#include "io/quantised_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "formats/fifth_bits.h"
#include "formats/q4_0.h"
#include "formats/q5_0.h"
#include "formats/q8_0.h"

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

namespace {

template <class Block, class Fill>
void write_block(float scale, std::byte* out, const Fill& fill) {
  Block block;
  block.d = to_f16(scale);
  fill(block);
  std::memcpy(out, &block, sizeof block);
}

}  // namespace

void write_integer_blocks(DType dtype, std::span<const int16_t> q, std::span<const float> scale, std::byte* out) {
  const int bits = bits_of(dtype), half = 1 << (bits - 1);
  for (size_t b = 0; b < q.size(); b += kBlock, out += info(dtype).block_bytes) {
    uint8_t code[kBlock];
    for (size_t i = 0; i < kBlock; ++i) code[i] = uint8_t(q[b + i] + half);
    if (bits == 8) {
      write_block<format::Q8_0::Block>(scale[b], out, [&](auto& block) {
        for (size_t i = 0; i < kBlock; ++i) block.q[i] = int8_t(q[b + i]);
      });
    } else if (bits == 5) {
      write_block<format::Q5_0::Block>(scale[b], out, [&](auto& block) { pack_fifth(code, block.high, block.q); });
    } else {
      write_block<format::Q4_0::Block>(scale[b], out, [&](auto& block) {
        for (size_t i = 0; i < kBlock / 2; ++i) block.q[i] = uint8_t(code[i] | code[i + kBlock / 2] << 4);
      });
    }
  }
}

}  // namespace hunch
