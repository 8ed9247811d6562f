#include "vulkan/repack.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "formats/format.h"
#include "formats/q4_0.h"
#include "formats/q4_k.h"
#include "formats/q6_k.h"
#include "formats/q8_0.h"

namespace hunch::vulkan {
namespace {

constexpr DType kReadable[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                               DType::kQ4_0, DType::kQ4_K, DType::kQ6_K};
constexpr size_t kGroup = 8;

// Eight codes of four bits, the first in the lowest.
uint32_t pack_nibbles(const uint8_t* codes) {
  uint32_t word = 0;
  for (size_t i = 0; i < kGroup; ++i) word |= uint32_t(codes[i] & 15) << (4 * i);
  return word;
}

template <class T>
void put(std::byte*& to, const T& value) {
  std::memcpy(to, &value, sizeof value);
  to += sizeof value;
}

void repack_q8_0(const std::byte* row, size_t n, std::byte* codes, std::byte* scales) {
  for (size_t i = 0; i < n; i += 32, row += sizeof(format::Q8_0::Block)) {
    format::Q8_0::Block b;
    std::memcpy(&b, row, sizeof b);
    put(codes, b.q);
    put(scales, b.d);
  }
}

void repack_q4_0(const std::byte* row, size_t n, std::byte* codes, std::byte* scales) {
  for (size_t i = 0; i < n; i += 32, row += sizeof(format::Q4_0::Block)) {
    format::Q4_0::Block b;
    std::memcpy(&b, row, sizeof b);
    uint8_t q[32];
    for (size_t j = 0; j < 16; ++j) {
      q[j] = b.q[j] & 15;
      q[j + 16] = b.q[j] >> 4;
    }
    for (size_t g = 0; g < 32; g += kGroup) put(codes, pack_nibbles(q + g));
    put(scales, b.d);
  }
}

void repack_q4_k(const std::byte* row, size_t n, std::byte* codes, std::byte* scales) {
  for (size_t i = 0; i < n; i += 256, row += sizeof(format::Q4_K::Block)) {
    format::Q4_K::Block b;
    std::memcpy(&b, row, sizeof b);
    for (size_t g = 0; g < 256; g += kGroup) {
      const size_t sub = g / 32;
      uint8_t q[kGroup];
      for (size_t k = 0; k < kGroup; ++k) {
        const uint8_t pair = b.q[sub / 2 * 32 + g % 32 + k];
        q[k] = sub % 2 ? pair >> 4 : pair & 15;
      }
      put(codes, pack_nibbles(q));
    }
    put(scales, b.d);
    put(scales, b.d_min);
    put(scales, b.scales);
  }
}

void repack_q6_k(const std::byte* row, size_t n, std::byte* codes, std::byte* scales, std::byte* extra) {
  for (size_t i = 0; i < n; i += 256, row += sizeof(format::Q6_K::Block)) {
    format::Q6_K::Block b;
    std::memcpy(&b, row, sizeof b);
    for (size_t g = 0; g < 256; g += kGroup) {
      uint8_t low[kGroup];
      uint16_t high = 0;
      for (size_t k = 0; k < kGroup; ++k) {
        const size_t at = g + k, half = at / 128, quarter = at / 32 % 4, l = at % 32;
        const uint8_t pair = b.low[half * 64 + (quarter & 1) * 32 + l];
        low[k] = quarter < 2 ? pair & 15 : pair >> 4;
        high = uint16_t(high | (b.high[half * 32 + l] >> (2 * quarter) & 3) << (2 * k));
      }
      put(codes, pack_nibbles(low));
      put(extra, high);
    }
    put(scales, b.scales);
    put(scales, b.d);
    const std::byte padding[14] = {};
    put(scales, padding);
  }
}

}  // namespace

bool reads_format(DType dtype) { return std::ranges::find(kReadable, dtype) != std::end(kReadable); }

std::string readable_formats() {
  std::string names;
  for (const DType dtype : kReadable) names += fmt::format("{}{}", names.empty() ? "" : ", ", name_of(dtype));
  return names;
}

RowLayout row_layout(DType dtype, size_t n_in) {
  const size_t n_groups = (n_in + kGroup - 1) / kGroup;
  switch (dtype) {
    case DType::kF32: return {n_groups * 32};
    case DType::kF16:
    case DType::kBF16: return {n_groups * 16};
    case DType::kQ8_0: return {n_groups * 8, n_in / 32 * 2};
    case DType::kQ4_0: return {n_groups * 4, n_in / 32 * 2};
    case DType::kQ4_K: return {n_groups * 4, n_in / 256 * 16};
    case DType::kQ6_K: return {n_groups * 4, n_in / 256 * 32, n_groups * 2};
    default: HUNCH_CHECK(false, "{} on a device", name_of(dtype));
  }
  return {};
}

void repack_rows(const WeightView& W, size_t first, size_t n, std::byte* codes, std::byte* scales, std::byte* extra) {
  const RowLayout layout = row_layout(W.dtype, W.cols);
  for (size_t r = first; r < first + n; ++r) {
    const std::byte* const row = W.row(r);
    switch (W.dtype) {
      case DType::kQ8_0: repack_q8_0(row, W.cols, codes, scales); break;
      case DType::kQ4_0: repack_q4_0(row, W.cols, codes, scales); break;
      case DType::kQ4_K: repack_q4_k(row, W.cols, codes, scales); break;
      case DType::kQ6_K: repack_q6_k(row, W.cols, codes, scales, extra); break;
      default: {
        const size_t bytes = row_bytes(W.dtype, W.cols);
        std::memcpy(codes, row, bytes);
        std::memset(codes + bytes, 0, layout.codes - bytes);
      }
    }
    codes += layout.codes;
    scales += layout.scales;
    extra += layout.extra;
  }
}

}  // namespace hunch::vulkan
