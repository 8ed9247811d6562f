// Q6_K: sub-blocks of 16 codes of 6 bits with a scale of 8 bits each.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "formats/format.h"
#include "formats/scale.h"

namespace hunch::format {

struct Q6_K {
  // Sixteen sub-blocks of 16: x = d * scale[j] * (q - 32), q in 0..63. Within each half of 128 elements,
  // quarter k (32 elements) has its low four bits in low[(k & 1) * 32 + l] (low nibble for k < 2, else
  // high nibble) and its upper two in bits 2k, 2k + 1 of high[l].
  struct Block {
    uint8_t low[128];
    uint8_t high[64];
    int8_t scales[16];
    f16 d;
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      const float d = to_f32(b.d);
      for (int at = 0; at < 256; ++at) {
        const int half = at / 128, quarter = at / 32 % 4, l = at % 32;
        const uint8_t pair = b.low[half * 64 + (quarter & 1) * 32 + l];
        const int low = quarter < 2 ? pair & 15 : pair >> 4;
        const int q = low | (b.high[half * 32 + l] >> 2 * quarter & 3) << 4;
        const int sub_block = at / kSub;
        out[i + at] = d * float(b.scales[sub_block]) * float(q - 32);
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      const float* x = values + i;
      std::array<float, kNSub> ideal;
      float extreme = 0;
      for (int j = 0; j < kNSub; ++j) {
        ideal[j] = fit(x + j * kSub);
        if (std::fabs(ideal[j]) > std::fabs(extreme)) extreme = ideal[j];
      }
      Block b{};
      b.d = finite_f16(extreme / -128);
      const float d = to_f32(b.d);
      for (int j = 0; j < kNSub; ++j) {
        const int scale0 = int(std::lrintf(std::clamp(ideal[j] * inverse_or_zero(d), -128.0f, 127.0f)));
        int8_t codes[kSub] = {}, trial[kSub];
        float best_error = INFINITY;
        for (int s = std::max(scale0 - 1, -128); s <= std::min(scale0 + 1, 127); ++s) {
          const float error = assign(x + j * kSub, d * float(s), trial);
          if (error < best_error) {
            best_error = error;
            b.scales[j] = int8_t(s);
            std::memcpy(codes, trial, sizeof codes);
          }
        }
        for (int k = 0; k < kSub; ++k) {
          const int at = j * kSub + k, half = at / 128, quarter = at / 32 % 4, l = at % 32;
          const uint8_t q = uint8_t(codes[k] + 32);
          b.low[half * 64 + (quarter & 1) * 32 + l] |= uint8_t((q & 15) << (quarter < 2 ? 0 : 4));
          b.high[half * 32 + l] |= uint8_t(q >> 4 << 2 * quarter);
        }
      }
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ6_K,
                                     .name = "q6_k",
                                     .block_elems = 256,
                                     .block_bytes = 210,
                                     .decode = decode,
                                     .encode = encode,
                                     .file_type = 18,
                                     .fallback = DType::kQ8_0};

 private:
  static constexpr int kSub = 16, kNSub = 16;

  // Codes of x under `scale` (either sign) and the sum of squared errors they leave.
  static float assign(const float* x, float scale, int8_t* codes) {
    const float inverse = inverse_or_zero(scale);
    float error = 0;
    for (int i = 0; i < kSub; ++i) {
      const int q = int(std::lrintf(std::clamp(x[i] * inverse, -32.0f, 31.0f)));
      const float e = scale * float(q) - x[i];
      error += e * e;
      codes[i] = int8_t(q);
    }
    return error;
  }

  // The scale that leaves the least squared error: starts that map the extreme value to codes between
  // -34 and -28, each improved once by least squares over its codes.
  static float fit(const float* x) {
    float extreme = 0;
    for (int i = 0; i < kSub; ++i)
      if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
    if (std::fabs(extreme) < 1e-30f) return 0;  // its quotients would leave the range of f32
    int8_t codes[kSub];
    float best = 0, best_error = INFINITY;
    for (const float target : {-32.0f, -34.0f, -33.0f, -31.0f, -30.0f, -29.0f, -28.0f}) {
      float scale = extreme / target;
      for (int round = 0; round < 2; ++round) {
        const float error = assign(x, scale, codes);
        if (error < best_error) {
          best_error = error;
          best = scale;
        }
        float sum_qx = 0, sum_qq = 0;
        for (int i = 0; i < kSub; ++i) {
          sum_qx += float(codes[i]) * x[i];
          sum_qq += float(codes[i]) * float(codes[i]);
        }
        if (sum_qq > 0) scale = sum_qx / sum_qq;
      }
    }
    return best;
  }
};
static_assert(sizeof(Q6_K::Block) == Q6_K::kFormat.block_bytes);

}  // namespace hunch::format
