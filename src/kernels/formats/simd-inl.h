// What the kernels know of a format: Simd<format::Q4_0>, and on AVX-512 vnni::Row and wide::RowSum. Each format's stand
// in one file of this folder; all-inl.h has them all.
#if defined(HUNCH_KERNELS_FORMATS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_SIMD_INL_H_
#undef HUNCH_KERNELS_FORMATS_SIMD_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_SIMD_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "base/half.h"
#include "formats/format.h"
#include "hwy/highway.h"
#include "kernels/promote_f16-inl.h"

// Whether the AVX-512 parts exist for this target.
#undef HUNCH_AVX512
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
#define HUNCH_AVX512 1
#else
#define HUNCH_AVX512 0
#endif

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Of a format whose products are of floats, over what Elements or FloatBlocks gives:
//   Load(d, row, i)  Lanes(d) elements of a row as f32, beginning with element i, a multiple of them
//   One(row, i)      one of them
// Of a quantised format, over what Blocks gives:
//   Unpack(blocks, n, out)   n elements (a multiple of 32, at most 256); scales past them may change
//   kCodesAt (may be left out)    where a block holds its codes as int8, one after the other
//   kAddTokens (may be left out)  see gemv_axpy_most_tokens()
template <class Format>
struct Simd;

// Of a plain format: how many elements fill a line of 64 bytes, and the bytes of n of them.
template <size_t BYTES>
struct Elements {
  static constexpr size_t kStep = 64 / BYTES;
  static constexpr size_t Bytes(size_t n) { return n * BYTES; }
};
// The same of blocks of about a line; n are whole blocks.
template <class Format>
struct FloatBlocks {
  static constexpr size_t kStep = Format::kFormat.block_elems;
  static constexpr size_t Bytes(size_t n) { return n / kStep * Format::kFormat.block_bytes; }
  // The block of element i.
  static HWY_INLINE const std::byte* BlockOf(const std::byte* row, size_t i) {
    return row + i / kStep * Format::kFormat.block_bytes;
  }
  static HWY_INLINE float ScaleOf(const std::byte* block) {
    float scale;
    std::memcpy(&scale, block, sizeof scale);
    return scale;
  }
};

// SUB: the elements that share a scale (and a minimum), 16 or 32.
template <class Format, size_t SUB>
struct Blocks {
  static constexpr size_t kSub = SUB, kBlockElems = Format::kFormat.block_elems,
                          kBlockBytes = Format::kFormat.block_bytes;
  static constexpr bool kHasMin = Format::kFormat.has_min;
};

// Up to 256 consecutive weights of a row: w[i] = scale[i / kSub] * q[i] - min[i / kSub].
struct Unpacked {
  alignas(64) int8_t q[256];
  alignas(64) float scale[16];
  alignas(64) float min[16];
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
// Bits above the lowest 8 - kBits are garbage, which the caller masks.
template <int kBits>
HWY_INLINE ByteVec Right(ByteVec v) {
#if HWY_TARGET == HWY_SCALAR
  return hn::ShiftRight<kBits>(v);
#else
  const hn::Repartition<uint16_t, Bytes> d16;
  return hn::BitCast(Bytes(), hn::ShiftRight<kBits>(hn::BitCast(d16, v)));
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

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
