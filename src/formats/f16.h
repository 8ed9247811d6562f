// F16: half precision, rounded to nearest even.
#pragma once
#include <cstring>

#include "base/half.h"
#include "formats/format.h"

namespace hunch::format {

struct F16 {
  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      f16 h;
      std::memcpy(&h, blocks + i * sizeof h, sizeof h);
      out[i] = to_f32(h);
    }
  }
  static void encode(const float* values, std::byte* blocks, size_t n, const float* /*importance*/) {
    for (size_t i = 0; i < n; ++i) {
      const f16 h = to_f16(values[i]);
      std::memcpy(blocks + i * sizeof h, &h, sizeof h);
    }
  }
  static constexpr Format kFormat = {.dtype = DType::kF16,
                                     .name = "f16",
                                     .block_bytes = 2,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 1,
                                     .caches = true};
};

}  // namespace hunch::format
