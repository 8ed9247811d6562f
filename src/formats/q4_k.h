// Q4_K: sub-blocks of 32 nibbles with a scale and a minimum each, both 6 bits of a super-block scale.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "formats/format.h"
#include "formats/k_scales.h"
#include "formats/scale.h"

namespace hunch::format {

struct Q4_K {
  // Eight sub-blocks of 32: x = d * scale[j] * q - d_min * min[j], q in 0..15. Sub-blocks 2i and 2i + 1
  // are the low and the high nibbles of q[32 i .. 32 i + 31].
  struct Block {
    f16 d, d_min;
    uint8_t scales[12];  // see unpack_scales
    uint8_t q[128];
  };

  static void decode(const std::byte* blocks, float* out, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      Block b;
      std::memcpy(&b, blocks, sizeof b);
      uint8_t scale[kNSub], min[kNSub];
      unpack_scales(b.scales, scale, min);
      for (int j = 0; j < kNSub; ++j) {
        const float d = to_f32(b.d) * scale[j], offset = to_f32(b.d_min) * min[j];
        for (int l = 0; l < kSub; ++l) {
          const uint8_t pair = b.q[j / 2 * kSub + l];
          out[i + j * kSub + l] = d * float(j & 1 ? pair >> 4 : pair & 15) - offset;
        }
      }
    }
  }

  static void encode(const float* values, std::byte* blocks, size_t n) {
    for (size_t i = 0; i < n; i += 256, blocks += sizeof(Block)) {
      const float* x = values + i;
      std::array<Affine, kNSub> ideal;
      float max_scale = 0, max_min = 0;
      for (int j = 0; j < kNSub; ++j) {
        ideal[j] = fit(x + j * kSub);
        max_scale = std::max(max_scale, ideal[j].scale);
        max_min = std::max(max_min, ideal[j].min);
      }
      Block b;
      b.d = finite_f16(max_scale / kMaxScale);
      b.d_min = finite_f16(max_min / kMaxScale);
      uint8_t scale[kNSub] = {}, min[kNSub] = {}, codes[kNSub][kSub] = {};
      for (int j = 0; j < kNSub; ++j)
        choose_codes(x + j * kSub, ideal[j], to_f32(b.d), to_f32(b.d_min), &scale[j], &min[j], codes[j]);
      pack_scales(scale, min, b.scales);
      for (int j = 0; j < kNSub; j += 2)
        for (int l = 0; l < kSub; ++l) b.q[j / 2 * kSub + l] = uint8_t(codes[j][l] | codes[j + 1][l] << 4);
      std::memcpy(blocks, &b, sizeof b);
    }
  }

  static constexpr Format kFormat = {.dtype = DType::kQ4_K,
                                     .name = "q4_k",
                                     .block_elems = 256,
                                     .block_bytes = 144,
                                     .decode = decode,
                                     .encode = encode,
                                     .has_min = true,
                                     .file_type = 14,
                                     .fallback = DType::kQ8_0};

 private:
  static constexpr int kSub = 32, kNSub = 8, kMaxCode = 15, kMaxScale = 63;

  struct Affine {  // x ~ scale * q - min, q in 0..15
    float scale = 0, min = 0;
  };

  // Codes of x under `a` and the sum of squared errors they leave.
  static float assign(const float* x, Affine a, uint8_t* codes) {
    const float inverse = a.scale > 0 ? 1 / a.scale : 0;
    float error = 0;
    for (int i = 0; i < kSub; ++i) {
      const int q = int(std::clamp((x[i] + a.min) * inverse, 0.0f, float(kMaxCode)) + 0.5f);
      const float e = a.scale * float(q) - a.min - x[i];
      error += e * e;
      codes[i] = uint8_t(q);
    }
    return error;
  }

  // Least squares for scale and min with the codes held fixed; the format allows neither to be negative.
  static Affine solve(const float* x, const uint8_t* codes) {
    float sum_q = 0, sum_qq = 0, sum_x = 0, sum_qx = 0;
    for (int i = 0; i < kSub; ++i) {
      const float q = codes[i];
      sum_q += q;
      sum_qq += q * q;
      sum_x += x[i];
      sum_qx += q * x[i];
    }
    const float det = kSub * sum_qq - sum_q * sum_q;
    Affine a;
    if (det > 0) {
      a.scale = (kSub * sum_qx - sum_q * sum_x) / det;
      a.min = (sum_q * sum_qx - sum_qq * sum_x) / det;
    }
    if (a.min < 0 || det <= 0) {
      a.min = 0;
      a.scale = sum_qq > 0 ? sum_qx / sum_qq : 0;
    }
    a.scale = std::max(a.scale, 0.0f);
    return a;
  }

  // Starts from ranges somewhat narrower than the data's (a clipped outlier can pay) and alternates
  // assignment with least squares; the best of all starts.
  static Affine fit(const float* x) {
    const auto [lo_it, hi_it] = std::minmax_element(x, x + kSub);
    const float lo = std::min(*lo_it, 0.0f), range = *hi_it - lo;
    if (!(range > 0)) return {0, -lo};
    uint8_t codes[kSub];
    Affine best;
    float best_error = INFINITY;
    for (const float shrink : {0.0f, 0.04f, 0.08f, 0.12f, 0.16f}) {
      Affine a{range * (1 - shrink) / kMaxCode, -lo * (1 - shrink / 2)};
      for (int round = 0; round < 3; ++round) {
        const float error = assign(x, a, codes);
        if (error < best_error) {
          best_error = error;
          best = a;
        }
        a = solve(x, codes);
      }
    }
    return best;
  }

  // The 6-bit neighbours of the ideal scale and min with the least error on this sub-block.
  static void choose_codes(const float* x, Affine ideal, float d, float d_min, uint8_t* scale, uint8_t* min,
                           uint8_t* codes) {
    const int scale0 = int(std::lrintf(ideal.scale * inverse_or_zero(d)));
    const int min0 = int(std::lrintf(ideal.min * inverse_or_zero(d_min)));
    float best_error = INFINITY;
    uint8_t trial[kSub];
    for (int s = std::clamp(scale0 - 1, 0, kMaxScale); s <= std::min(scale0 + 1, kMaxScale); ++s)
      for (int m = std::clamp(min0 - 1, 0, kMaxScale); m <= std::min(min0 + 1, kMaxScale); ++m) {
        const float error = assign(x, {d * float(s), d_min * float(m)}, trial);
        if (error < best_error) {
          best_error = error;
          *scale = uint8_t(s);
          *min = uint8_t(m);
          std::memcpy(codes, trial, sizeof trial);
        }
      }
  }
};
static_assert(sizeof(Q4_K::Block) == Q4_K::kFormat.block_bytes);

}  // namespace hunch::format
