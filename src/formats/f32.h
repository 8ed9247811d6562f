// F32: numbers as they are.
#pragma once
#include <cstring>

#include "formats/format.h"

namespace hunch::format {

struct F32 {
  static void decode(const std::byte* blocks, float* out, size_t n) {
    if (n) std::memcpy(out, blocks, n * sizeof(float));
  }
  static void encode(const float* values, std::byte* blocks, size_t n, const float* /*importance*/) {
    if (n) std::memcpy(blocks, values, n * sizeof(float));
  }
  static constexpr Format kFormat = {.dtype = DType::kF32,
                                     .name = "f32",
                                     .block_bytes = 4,
                                     .decode = decode,
                                     .encoder = encode,
                                     .file_type = 0,
                                     .caches = true};
};

}  // namespace hunch::format
