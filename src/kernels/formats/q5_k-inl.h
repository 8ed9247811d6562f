// Q5_K in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q5_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q5_K_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q5_K_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q5_K_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q5_k.h"
#include "hwy/highway.h"
#include "kernels/formats/k_scales-inl.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q5_K> : Blocks<format::Q5_K, 32> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    ScalesK(blocks, out);
    const auto* pairs = reinterpret_cast<const uint8_t*>(blocks + offsetof(format::Q5_K::Block, q));
    const auto* high = reinterpret_cast<const uint8_t*>(blocks + offsetof(format::Q5_K::Block, high));
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

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

template <>
struct Row<format::Q5_K> {
  using Packed = PackedK;
  static constexpr size_t kBytes = sizeof(format::Q5_K::Block);  // of the weights of one group
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15), bit4 = _mm512_set1_epi8(16);
    const __m512i v0 = Load512(w + 48), v1 = Load512(w + 112);
    const __m512i fifth = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 16)));
    // Bit j of `fifth` belongs to sub-block j; the halves of a code vector are sub-blocks s and s + 2.
    const auto add_bit = [&](__m512i u, int s) HWY_ATTR {
      const __m512i bits = _mm512_inserti64x4(_mm512_set1_epi8(char(1 << s)), _mm256_set1_epi8(char(4 << s)), 1);
      return _mm512_mask_or_epi64(u, 0xff, u, _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(fifth, bits), bit4));
    };
    const __m512i u[4] = {
        add_bit(_mm512_and_si512(v0, nibble), 0), add_bit(_mm512_and_si512(_mm512_srli_epi16(v0, 4), nibble), 1),
        add_bit(_mm512_and_si512(v1, nibble), 4), add_bit(_mm512_and_si512(_mm512_srli_epi16(v1, 4), nibble), 5)};
    AccumulateK<T>(u, ScalesK(w), x, acc);
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
