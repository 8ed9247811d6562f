#include <algorithm>
#include <bit>
#include <cstring>

#include "base/codec_blocks.h"
#include "base/round_small.h"

namespace hunch {

void decode_q8_0(const std::byte* blocks, float* out, size_t n) {
  for (size_t i = 0; i < n; i += 32, blocks += sizeof(BlockQ8_0)) {
    BlockQ8_0 b;
    std::memcpy(&b, blocks, sizeof b);
    const float d = to_f32(b.d);
    for (int j = 0; j < 32; ++j) out[i + j] = d * b.q[j];
  }
}

void encode_q8_0(const float* values, std::byte* blocks, size_t n) {
  for (size_t i = 0; i < n; i += 32, blocks += sizeof(BlockQ8_0)) {
    int32_t largest = 0;  // as bits, which have the order of the values
    for (int j = 0; j < 32; ++j)
      largest = std::max(largest, int32_t(std::bit_cast<uint32_t>(values[i + j]) & 0x7fffffffu));
    const float absmax = std::bit_cast<float>(largest);
    BlockQ8_0 b;
    b.d = finite_f16(absmax / 127);
    // Rounding against the scale that will be read back, not against the one before its rounding.
    const float inverse = inverse_or_zero(to_f32(b.d));
    for (int j = 0; j < 32; ++j) b.q[j] = int8_t(round_small(std::clamp(values[i + j] * inverse, -127.0f, 127.0f)));
    std::memcpy(blocks, &b, sizeof b);
  }
}

}  // namespace hunch
