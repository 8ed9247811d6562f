// Q2_K in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q2_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q2_K_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q2_K_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q2_K_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q2_k.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q2_K> : Blocks<format::Q2_K, 16> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    using Block = format::Q2_K::Block;
    alignas(32) float d[8];
    ScalesF16(blocks + offsetof(Block, d), 2, 2, d);
    for (size_t j = 0; j < 16; ++j) {
      const auto both = uint8_t(blocks[offsetof(Block, scales) + j]);
      out.scale[j] = d[0] * float(both & 15);
      out.min[j] = d[1] * float(both >> 4);
    }
    const ByteVec two = hn::Set(Bytes(), uint8_t(3));
    for (size_t half = 0; half < 2; ++half) {
      const auto* from = reinterpret_cast<const uint8_t*>(blocks + offsetof(Block, q) + 32 * half);
      for (size_t l = 0; l < 32; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), from + l);
        int8_t* q = out.q + 128 * half + l;
        StoreBytes(hn::And(v, two), q);
        StoreBytes(hn::And(Right<2>(v), two), q + 32);
        StoreBytes(hn::And(Right<4>(v), two), q + 64);
        StoreBytes(hn::And(Right<6>(v), two), q + 96);
      }
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
