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
#include "kernels/formats/sixteenths-inl.h"
#include "kernels/formats/vnni-inl.h"

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

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

template <>
struct Row<format::Q2_K> {
  using Packed = PackedWithMinima;
  using Block = format::Q2_K::Block;
  static constexpr size_t kBytes = sizeof(Block);  // of the weights of one group

  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i half0 = Twice(w + offsetof(Block, q)), half1 = Twice(w + offsetof(Block, q) + 32);
    const __m512i u[4] = {TwoBits<0>(half0), TwoBits<2>(half0), TwoBits<0>(half1), TwoBits<2>(half1)};
    const __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
    const auto times = [](__m512i codes, __m512 d) HWY_ATTR { return _mm512_mul_ps(_mm512_cvtepi32_ps(codes), d); };
    const __m512 scale = times(_mm512_and_si512(both, _mm512_set1_epi32(15)), FloatOfHalf(w + offsetof(Block, d)));
    const __m512 min = times(_mm512_srli_epi32(both, 4), FloatOfHalf(w + offsetof(Block, d_min)));
    for (int t = 0; t < T; ++t) acc[t] = _mm512_fnmadd_ps(min, _mm512_load_ps(x[t]->sum), acc[t]);
    AccumulateSigned<T>(u, scale, x, acc);
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
