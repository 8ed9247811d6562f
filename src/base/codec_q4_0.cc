#include <algorithm>
#include <bit>
#include <cstring>

#include "base/codec_blocks.h"
#include "base/round_small.h"

namespace hunch {
namespace {

// The first of the 32 values that has the largest magnitude. Magnitudes are compared as bits, which have the
// order of the values and let the compiler vectorise.
float first_extreme(const float* x) {
  const auto magnitude = [](float v) { return int32_t(std::bit_cast<uint32_t>(v) & 0x7fffffffu); };
  int32_t largest = 0;
  for (int j = 0; j < 32; ++j) largest = std::max(largest, magnitude(x[j]));
  if (largest == 0) return 0;  // not the sign of a zero
  for (int j = 0; j < 32; ++j)
    if (magnitude(x[j]) == largest) return x[j];
  return 0;  // not reached
}

}  // namespace

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
    const float extreme = first_extreme(values + i);
    BlockQ4_0 b;
    b.d = finite_f16(extreme / -8);
    const float inverse = inverse_or_zero(to_f32(b.d));
    uint8_t code[32];
    for (int j = 0; j < 32; ++j) code[j] = uint8_t(round_small(std::clamp(values[i + j] * inverse, -8.0f, 7.0f)) + 8);
    for (int j = 0; j < 16; ++j) b.q[j] = uint8_t(code[j] | code[j + 16] << 4);
    std::memcpy(blocks, &b, sizeof b);
  }
}

}  // namespace hunch
