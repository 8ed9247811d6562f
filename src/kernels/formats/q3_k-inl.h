// Q3_K in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q3_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q3_K_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q3_K_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q3_K_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q3_k.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q3_K> : Blocks<format::Q3_K, 16> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    using Block = format::Q3_K::Block;
    alignas(32) float d[8];
    ScalesF16(blocks + offsetof(Block, d), 2, 1, d);
    uint8_t packed[12];
    int8_t scales[16];
    std::memcpy(packed, blocks + offsetof(Block, scales), 12);
    format::Q3_K::unpack_scales(packed, scales);
    for (int j = 0; j < 16; ++j) out.scale[j] = d[0] * float(scales[j]);
    const auto* high = reinterpret_cast<const uint8_t*>(blocks + offsetof(Block, high));
    for (int half = 0; half < 2; ++half) {
      const auto* low = reinterpret_cast<const uint8_t*>(blocks + offsetof(Block, low) + 32 * half);
      for (size_t l = 0; l < 32; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), low + l), h = hn::LoadU(Bytes(), high + l);
        int8_t* q = out.q + 128 * half + l;
        Store(v, h, 4 * half, q);
        Store(Right<2>(v), h, 4 * half + 1, q + 32);
        Store(Right<4>(v), h, 4 * half + 2, q + 64);
        Store(Right<6>(v), h, 4 * half + 3, q + 96);
      }
    }
  }
  // The codes of the lowest two bits of `low`, less 4 where bit `bit` of `high` is clear.
  static HWY_INLINE void Store(ByteVec low, ByteVec high, int bit, int8_t* to) {
    const ByteVec q = hn::And(low, hn::Set(Bytes(), uint8_t(3)));
    const auto clear = hn::Eq(hn::And(high, hn::Set(Bytes(), uint8_t(1 << bit))), hn::Zero(Bytes()));
    StoreBytes(hn::Sub(q, hn::IfThenElseZero(clear, hn::Set(Bytes(), uint8_t(4)))), to);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
