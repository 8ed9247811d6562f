// Groups of quantised weights unpacked to int8 with f32 scales: what the portable int8 products and
// the panels of the int8 GEMM are made from. Plain loops, which compilers vectorise for each target.
#if defined(HUNCH_KERNELS_DOT_UNPACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_DOT_UNPACK_INL_H_
#undef HUNCH_KERNELS_DOT_UNPACK_INL_H_
#else
#define HUNCH_KERNELS_DOT_UNPACK_INL_H_
#endif
#include <cstring>

#include "base/codec_blocks.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// Up to 256 consecutive weights of a row: w[i] = scale[i / kSub] * q[i] - min[i / 32].
struct Unpacked {
  alignas(64) int8_t q[256];
  alignas(64) float scale[16];
  alignas(64) float min[8];
};

// Each format: kSub, the elements that share a scale; kHasMin; kBlockElems and kBlockBytes; and
// Unpack, which writes `n` elements (a multiple of 32, at most 256) and leaves the rest alone.
struct FormatQ8_0 {
  static constexpr size_t kSub = 32, kBlockElems = 32, kBlockBytes = sizeof(BlockQ8_0);
  static constexpr bool kHasMin = false;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    for (size_t b = 0; b < n / 32; ++b, blocks += kBlockBytes) {
      f16 d;
      std::memcpy(&d, blocks, 2);
      out.scale[b] = to_f32(d);
      std::memcpy(out.q + b * 32, blocks + 2, 32);
    }
  }
};

struct FormatQ4_0 {
  static constexpr size_t kSub = 32, kBlockElems = 32, kBlockBytes = sizeof(BlockQ4_0);
  static constexpr bool kHasMin = false;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    for (size_t b = 0; b < n / 32; ++b, blocks += kBlockBytes) {
      f16 d;
      std::memcpy(&d, blocks, 2);
      out.scale[b] = to_f32(d);
      uint8_t pairs[16];
      std::memcpy(pairs, blocks + 2, 16);
      int8_t* q = out.q + b * 32;
      for (int l = 0; l < 16; ++l) q[l] = int8_t((pairs[l] & 15) - 8);
      for (int l = 0; l < 16; ++l) q[l + 16] = int8_t((pairs[l] >> 4) - 8);
    }
  }
};

HWY_INLINE void UnpackScalesK(f16 d16, f16 d_min16, const uint8_t* packed, Unpacked& out) {
  const float d = to_f32(d16), d_min = to_f32(d_min16);
  uint8_t scale[8], min[8];
  unpack_scales(packed, scale, min);
  for (int j = 0; j < 8; ++j) {
    out.scale[j] = d * float(scale[j]);
    out.min[j] = d_min * float(min[j]);
  }
}

struct FormatQ4_K {
  static constexpr size_t kSub = 32, kBlockElems = 256, kBlockBytes = sizeof(BlockQ4_K);
  static constexpr bool kHasMin = true;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    BlockQ4_K b;
    std::memcpy(&b, blocks, sizeof b);
    UnpackScalesK(b.d, b.d_min, b.scales, out);
    for (int j = 0; j < 4; ++j) {
      const uint8_t* pairs = b.q + j * 32;
      int8_t* q = out.q + j * 64;
      for (int l = 0; l < 32; ++l) q[l] = int8_t(pairs[l] & 15);
      for (int l = 0; l < 32; ++l) q[l + 32] = int8_t(pairs[l] >> 4);
    }
  }
};

struct FormatQ5_K {
  static constexpr size_t kSub = 32, kBlockElems = 256, kBlockBytes = sizeof(BlockQ5_K);
  static constexpr bool kHasMin = true;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    BlockQ5_K b;
    std::memcpy(&b, blocks, sizeof b);
    UnpackScalesK(b.d, b.d_min, b.scales, out);
    for (int j = 0; j < 4; ++j) {
      const uint8_t* pairs = b.q + j * 32;
      int8_t* q = out.q + j * 64;
      for (int l = 0; l < 32; ++l) q[l] = int8_t((pairs[l] & 15) | (b.high[l] >> (2 * j) & 1) << 4);
      for (int l = 0; l < 32; ++l) q[l + 32] = int8_t((pairs[l] >> 4) | (b.high[l] >> (2 * j + 1) & 1) << 4);
    }
  }
};

struct FormatQ6_K {
  static constexpr size_t kSub = 16, kBlockElems = 256, kBlockBytes = sizeof(BlockQ6_K);
  static constexpr bool kHasMin = false;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    BlockQ6_K b;
    std::memcpy(&b, blocks, sizeof b);
    const float d = to_f32(b.d);
    for (int j = 0; j < 16; ++j) out.scale[j] = d * float(b.scales[j]);
    for (int half = 0; half < 2; ++half) {
      const uint8_t *low = b.low + half * 64, *high = b.high + half * 32;
      int8_t* q = out.q + half * 128;
      for (int l = 0; l < 32; ++l) q[l] = int8_t(((low[l] & 15) | (high[l] & 3) << 4) - 32);
      for (int l = 0; l < 32; ++l) q[l + 32] = int8_t(((low[l + 32] & 15) | (high[l] >> 2 & 3) << 4) - 32);
      for (int l = 0; l < 32; ++l) q[l + 64] = int8_t(((low[l] >> 4) | (high[l] >> 4 & 3) << 4) - 32);
      for (int l = 0; l < 32; ++l) q[l + 96] = int8_t(((low[l + 32] >> 4) | (high[l] >> 6) << 4) - 32);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
