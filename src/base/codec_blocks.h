// The blocks of the quantised formats, byte for byte as GGUF files hold them (ggml's layouts), and
// the codec functions that codec.cc gathers into its table. For base/ and the kernels only.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace hunch {

// x[i] = d * q[i]
struct BlockQ8_0 {
  f16 d;
  int8_t q[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// x[i] = d * (low nibble of q[i] - 8), x[i + 16] = d * (high nibble of q[i] - 8)
struct BlockQ4_0 {
  f16 d;
  uint8_t q[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

// Eight sub-blocks of 32: x = d * scale[j] * q - d_min * min[j], q in 0..15. Sub-blocks 2i and 2i + 1
// are the low and the high nibbles of q[32 i .. 32 i + 31].
struct BlockQ4_K {
  f16 d, d_min;
  uint8_t scales[12];  // see unpack_scales
  uint8_t q[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// As BlockQ4_K with a fifth bit: bit j of high[l] belongs to element l of sub-block j.
struct BlockQ5_K {
  f16 d, d_min;
  uint8_t scales[12];
  uint8_t high[32];
  uint8_t q[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// Sixteen sub-blocks of 16: x = d * scale[j] * (q - 32), q in 0..63. Within each half of 128 elements,
// quarter k (32 elements) has its low four bits in low[(k & 1) * 32 + l] (low nibble for k < 2, else
// high nibble) and its upper two in bits 2k, 2k + 1 of high[l].
struct BlockQ6_K {
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  f16 d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// The eight 6-bit scales and eight 6-bit minima packed into twelve bytes: entries 0..3 in the low six
// bits of bytes 0..3 (scales) and 4..7 (minima); entries 4..7 have their low four bits in the nibbles
// of bytes 8..11 and their upper two in the top bits of bytes 0..3 and 4..7.
inline void unpack_scales(const uint8_t packed[12], uint8_t scale[8], uint8_t min[8]) {
  for (int j = 0; j < 4; ++j) {
    scale[j] = packed[j] & 63;
    min[j] = packed[j + 4] & 63;
    scale[j + 4] = uint8_t((packed[j + 8] & 15) | (packed[j] >> 6 << 4));
    min[j + 4] = uint8_t((packed[j + 8] >> 4) | (packed[j + 4] >> 6 << 4));
  }
}

inline void pack_scales(const uint8_t scale[8], const uint8_t min[8], uint8_t packed[12]) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = uint8_t(scale[j] | (scale[j + 4] >> 4 << 6));
    packed[j + 4] = uint8_t(min[j] | (min[j + 4] >> 4 << 6));
    packed[j + 8] = uint8_t((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
  }
}

// A scale as f16, never infinite: the largest half instead. A scale below the smallest half becomes 0,
// and the block with it.
inline f16 finite_f16(float value) {
  constexpr float kMax = 65504.0f;
  return to_f16(value > kMax ? kMax : value < -kMax ? -kMax : value);
}

// 1 / x, and 0 for 0 or where the quotient would overflow (|x| < 2^-126 cannot come from an f16).
inline float inverse_or_zero(float x) { return x == 0 ? 0 : 1 / x; }

void decode_q8_0(const std::byte* blocks, float* out, size_t n);
void encode_q8_0(const float* values, std::byte* blocks, size_t n);
void decode_q4_0(const std::byte* blocks, float* out, size_t n);
void encode_q4_0(const float* values, std::byte* blocks, size_t n);
void decode_q4_k(const std::byte* blocks, float* out, size_t n);
void encode_q4_k(const float* values, std::byte* blocks, size_t n);
void decode_q5_k(const std::byte* blocks, float* out, size_t n);
void decode_q6_k(const std::byte* blocks, float* out, size_t n);
void encode_q6_k(const float* values, std::byte* blocks, size_t n);

}  // namespace hunch
