#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/codec_blocks.h"

namespace hunch {

void decode_q4_0(const std::byte* blocks, float* out, size_t n) {
  for (size_t i = 0; i < n; i += 32, blocks += sizeof(BlockQ4_0)) {
    BlockQ4_0 b;
    std::memcpy(&b, blocks, sizeof b);
    const float d = to_f32(b.d);
    for (int j = 0; j < 16; ++j) {
      out[i + j] = d * float((b.q[j] & 15) - 8);
      out[i + j + 16] = d * float((b.q[j] >> 4) - 8);
    }
  }
}

void encode_q4_0(const float* values, std::byte* blocks, size_t n) {
  for (size_t i = 0; i < n; i += 32, blocks += sizeof(BlockQ4_0)) {
    // The value of largest magnitude maps to -8, the one code without a counterpart of other sign.
    float extreme = 0;
    for (int j = 0; j < 32; ++j)
      if (std::fabs(values[i + j]) > std::fabs(extreme)) extreme = values[i + j];
    BlockQ4_0 b;
    b.d = finite_f16(extreme / -8);
    const float inverse = inverse_or_zero(to_f32(b.d));
    const auto code = [&](float x) { return uint8_t(std::lrintf(std::clamp(x * inverse, -8.0f, 7.0f)) + 8); };
    for (int j = 0; j < 16; ++j) b.q[j] = uint8_t(code(values[i + j]) | code(values[i + j + 16]) << 4);
    std::memcpy(blocks, &b, sizeof b);
  }
}

}  // namespace hunch
