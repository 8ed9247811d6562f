// BF16: the upper half of an f32, rounded to nearest even.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/format.h"

namespace hunch::format {

struct BF16 {
  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      bf16 h;
      std::memcpy(&h, blocks + i * sizeof h, sizeof h);
      out[i] = to_f32(h);
    }
  }
  static void encode(const float* values, std::byte* blocks, size_t n, const float* /*importance*/) {
    for (size_t i = 0; i < n; ++i) {
      const bf16 h = to_bf16(values[i]);
      std::memcpy(blocks + i * sizeof h, &h, sizeof h);
    }
  }
  static constexpr Format kFormat = {
      .dtype = DType::kBF16, .name = "bf16", .block_bytes = 2, .decode = decode, .encoder = encode, .file_type = 32};
};

}  // namespace hunch::format
