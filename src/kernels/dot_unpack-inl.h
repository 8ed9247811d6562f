// Groups of quantised weights unpacked to int8 with f32 scales: what the portable int8 products and
// the panels of the GEMM are made from.
#if defined(HUNCH_KERNELS_DOT_UNPACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_DOT_UNPACK_INL_H_
#undef HUNCH_KERNELS_DOT_UNPACK_INL_H_
#else
#define HUNCH_KERNELS_DOT_UNPACK_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "base/codec_blocks.h"
#include "hwy/highway.h"
#include "kernels/promote_f16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Up to 256 consecutive weights of a row: w[i] = scale[i / kSub] * q[i] - min[i / 32].
struct Unpacked {
  alignas(64) int8_t q[256];
  alignas(64) float scale[16];
  alignas(64) float min[8];
};

// 16 bytes at a time; without vectors, one.
#if HWY_TARGET == HWY_SCALAR
using Bytes = hn::CappedTag<uint8_t, 1>;
#else
using Bytes = hn::Full128<uint8_t>;
#endif
using ByteVec = hn::Vec<Bytes>;

HWY_INLINE ByteVec High4(ByteVec v) {
#if HWY_TARGET == HWY_SCALAR
  return hn::ShiftRight<4>(v);
#else
  const hn::Repartition<uint16_t, Bytes> d16;
  return hn::And(hn::BitCast(Bytes(), hn::ShiftRight<4>(hn::BitCast(d16, v))), hn::Set(Bytes(), uint8_t(15)));
#endif
}
HWY_INLINE ByteVec Low4(ByteVec v) { return hn::And(v, hn::Set(Bytes(), uint8_t(15))); }
HWY_INLINE void StoreBytes(ByteVec v, int8_t* to) { hn::StoreU(v, Bytes(), reinterpret_cast<uint8_t*>(to)); }

// f32 of n f16 (n <= 8) that lie `stride` bytes apart; 0 past them. Gathered in registers: a vector
// load of just stored halves would stall.
HWY_INLINE void ScalesF16(const std::byte* from, size_t stride, size_t n, float* out) {
  const auto half = [&](size_t i) HWY_ATTR {
    uint16_t h = 0;
    if (i < n) std::memcpy(&h, from + i * stride, 2);
    return h;
  };
#if HWY_TARGET == HWY_SCALAR
  for (size_t i = 0; i < 8; ++i) out[i] = to_f32(f16{half(i)});
#else
  uint64_t low = 0, high = 0;
  for (size_t i = 0; i < 4; ++i) {
    low |= uint64_t(half(i)) << 16 * i;
    high |= uint64_t(half(i + 4)) << 16 * i;
  }
#if HWY_CAP_GE256
  const hn::Full128<uint64_t> d64;
  const hn::Full128<hwy::float16_t> d16;
  const auto all = hn::BitCast(d16, hn::InterleaveLower(d64, hn::Set(d64, low), hn::Set(d64, high)));
  hn::Store(hn::PromoteTo(hn::Full256<float>(), all), hn::Full256<float>(), out);
#else
  const hn::Full128<float> d;
  const hn::Full64<uint64_t> one;
  const hn::Full64<hwy::float16_t> d8;
  hn::Store(PromoteF16(d, hn::BitCast(d8, hn::Set(one, low))), d, out);
  hn::Store(PromoteF16(d, hn::BitCast(d8, hn::Set(one, high))), d, out + 4);
#endif
#endif
}

// Each format: kSub, the elements that share a scale; kHasMin; kBlockElems and kBlockBytes; and
// Unpack, which writes n elements (a multiple of 32, at most 256). Scales past them may change.
struct FormatQ8_0 {
  static constexpr size_t kSub = 32, kBlockElems = 32, kBlockBytes = sizeof(BlockQ8_0);
  static constexpr bool kHasMin = false;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    ScalesF16(blocks, kBlockBytes, n / 32, out.scale);
    for (size_t b = 0; b < n / 32; ++b) std::memcpy(out.q + b * 32, blocks + b * kBlockBytes + 2, 32);
  }
};

struct FormatQ4_0 {
  static constexpr size_t kSub = 32, kBlockElems = 32, kBlockBytes = sizeof(BlockQ4_0);
  static constexpr bool kHasMin = false;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    const ByteVec eight = hn::Set(Bytes(), uint8_t(8));
    ScalesF16(blocks, kBlockBytes, n / 32, out.scale);
    for (size_t b = 0; b < n / 32; ++b) {
      const auto* pairs = reinterpret_cast<const uint8_t*>(blocks + b * kBlockBytes + 2);
      for (size_t l = 0; l < 16; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), pairs + l);
        StoreBytes(hn::Sub(Low4(v), eight), out.q + b * 32 + l);
        StoreBytes(hn::Sub(High4(v), eight), out.q + b * 32 + 16 + l);
      }
    }
  }
};

// scale[0..7] and min[0..7] of the head that Q4_K and Q5_K share: d, d_min and twelve bytes.
HWY_INLINE void ScalesK(const std::byte* head, Unpacked& out) {
  alignas(32) float d[8];
  ScalesF16(head, 2, 2, d);
  uint32_t a, b, c;
  std::memcpy(&a, head + 4, 4);   // scales 0..3 and the top bits of scales 4..7
  std::memcpy(&b, head + 8, 4);   // the same of the minima
  std::memcpy(&c, head + 12, 4);  // the low four bits of scales and minima 4..7
  const uint32_t codes[4] = {a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u), b & 0x3f3f3f3fu,
                             (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u)};
  uint8_t bytes[16];
  std::memcpy(bytes, codes, 16);
  for (size_t j = 0; j < 8; ++j) out.scale[j] = d[0] * float(bytes[j]);
  for (size_t j = 0; j < 8; ++j) out.min[j] = d[1] * float(bytes[8 + j]);
}

struct FormatQ4_K {
  static constexpr size_t kSub = 32, kBlockElems = 256, kBlockBytes = sizeof(BlockQ4_K);
  static constexpr bool kHasMin = true;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    ScalesK(blocks, out);
    const auto* pairs = reinterpret_cast<const uint8_t*>(blocks + offsetof(BlockQ4_K, q));
    for (size_t j = 0; j < 4; ++j)
      for (size_t l = 0; l < 32; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), pairs + j * 32 + l);
        StoreBytes(Low4(v), out.q + j * 64 + l);
        StoreBytes(High4(v), out.q + j * 64 + 32 + l);
      }
  }
};

struct FormatQ5_K {
  static constexpr size_t kSub = 32, kBlockElems = 256, kBlockBytes = sizeof(BlockQ5_K);
  static constexpr bool kHasMin = true;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    ScalesK(blocks, out);
    const auto* pairs = reinterpret_cast<const uint8_t*>(blocks + offsetof(BlockQ5_K, q));
    const auto* high = reinterpret_cast<const uint8_t*>(blocks + offsetof(BlockQ5_K, high));
    const ByteVec zero = hn::Zero(Bytes()), sixteen = hn::Set(Bytes(), uint8_t(16));
    for (size_t j = 0; j < 4; ++j) {
      const ByteVec bit = hn::Set(Bytes(), uint8_t(1 << 2 * j)), next = hn::Set(Bytes(), uint8_t(2 << 2 * j));
      for (size_t l = 0; l < 32; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), pairs + j * 32 + l), h = hn::LoadU(Bytes(), high + l);
        const auto clear = hn::Eq(hn::And(h, bit), zero), next_clear = hn::Eq(hn::And(h, next), zero);
        StoreBytes(hn::Or(Low4(v), hn::IfThenZeroElse(clear, sixteen)), out.q + j * 64 + l);
        StoreBytes(hn::Or(High4(v), hn::IfThenZeroElse(next_clear, sixteen)), out.q + j * 64 + 32 + l);
      }
    }
  }
};

struct FormatQ6_K {
  static constexpr size_t kSub = 16, kBlockElems = 256, kBlockBytes = sizeof(BlockQ6_K);
  static constexpr bool kHasMin = false;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    alignas(32) float d[8];
    ScalesF16(blocks + offsetof(BlockQ6_K, d), 2, 1, d);
    int8_t scales[16];
    std::memcpy(scales, blocks + offsetof(BlockQ6_K, scales), 16);
    for (int j = 0; j < 16; ++j) out.scale[j] = d[0] * float(scales[j]);
    const ByteVec two = hn::Set(Bytes(), uint8_t(3)), offset = hn::Set(Bytes(), uint8_t(32));
    // Quarters 0..3 of a half take bits 0-1, 2-3, 4-5 and 6-7 of its upper bits.
    const auto store = [&](ByteVec low, ByteVec pair, int8_t* to) HWY_ATTR {
      const ByteVec high = hn::And(pair, two);
#if HWY_TARGET == HWY_SCALAR
      const ByteVec shifted = hn::ShiftLeft<4>(high);
#else
      const hn::Repartition<uint16_t, Bytes> d16;
      const ByteVec shifted = hn::BitCast(Bytes(), hn::ShiftLeft<4>(hn::BitCast(d16, high)));
#endif
      StoreBytes(hn::Sub(hn::Or(low, shifted), offset), to);
    };
    for (size_t half = 0; half < 2; ++half) {
      const auto* low = reinterpret_cast<const uint8_t*>(blocks + 64 * half);
      const auto* high = reinterpret_cast<const uint8_t*>(blocks + offsetof(BlockQ6_K, high) + 32 * half);
      int8_t* q = out.q + 128 * half;
      for (size_t l = 0; l < 32; l += hn::Lanes(Bytes())) {
        const ByteVec v0 = hn::LoadU(Bytes(), low + l), v1 = hn::LoadU(Bytes(), low + 32 + l);
        const ByteVec h = hn::LoadU(Bytes(), high + l), h4 = High4(h);
        store(Low4(v0), h, q + l);
        store(Low4(v1), Right2(h), q + 32 + l);
        store(High4(v0), h4, q + 64 + l);
        store(High4(v1), Right2(h4), q + 96 + l);
      }
    }
  }
  // Bits above the lowest two are garbage; the caller masks them.
  static HWY_INLINE ByteVec Right2(ByteVec v) {
#if HWY_TARGET == HWY_SCALAR
    return hn::ShiftRight<2>(v);
#else
    const hn::Repartition<uint16_t, Bytes> d16;
    return hn::BitCast(Bytes(), hn::ShiftRight<2>(hn::BitCast(d16, v)));
#endif
  }
};

// Transposes 4 x 4 values of 32 bits: out[j * stride + i] = row i's value j.
#if HWY_TARGET != HWY_SCALAR
using Four = hn::Full128<uint32_t>;
HWY_INLINE void Transpose4x4(hn::Vec<Four> a, hn::Vec<Four> b, hn::Vec<Four> c, hn::Vec<Four> d, uint32_t* out,
                             size_t stride) {
  const Four d4;
  const hn::RepartitionToWide<Four> d2;
  const auto ab_low = hn::BitCast(d2, hn::InterleaveLower(d4, a, b));
  const auto ab_high = hn::BitCast(d2, hn::InterleaveUpper(d4, a, b));
  const auto cd_low = hn::BitCast(d2, hn::InterleaveLower(d4, c, d));
  const auto cd_high = hn::BitCast(d2, hn::InterleaveUpper(d4, c, d));
  hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, ab_low, cd_low)), d4, out);
  hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, ab_low, cd_low)), d4, out + stride);
  hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, ab_high, cd_high)), d4, out + 2 * stride);
  hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, ab_high, cd_high)), d4, out + 3 * stride);
}
#endif

// Not inlined: the callers are templates of many shapes, and a group is work enough for a call.
template <class Format>
HWY_NOINLINE void UnpackGroup(const std::byte* blocks, size_t n, Unpacked& out) {
  Format::Unpack(blocks, n, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
