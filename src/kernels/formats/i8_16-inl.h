// I8_16 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_I8_16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_I8_16_INL_H_
#undef HUNCH_KERNELS_FORMATS_I8_16_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_I8_16_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/i8_16.h"
#include "hwy/highway.h"
#include "kernels/formats/q8_0-inl.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::I8_16> : Blocks<format::I8_16, 16> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    for (size_t b = 0; b < n / 32; ++b, blocks += kBlockBytes) {
      std::memcpy(out.scale + 2 * b, blocks, 8);
      std::memcpy(out.q + 32 * b, blocks + offsetof(format::I8_16::Block, q), 32);
    }
    for (size_t j = n / 16; j < 16; ++j) out.scale[j] = 0;
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
struct Row<format::I8_16> {
  using Packed = PackedQ8_0;
  static constexpr size_t kStride = sizeof(format::I8_16::Block), kBytes = 2 * kStride;
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const auto codes = [&](size_t b) HWY_ATTR {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + b * kStride + offsetof(format::I8_16::Block, q)));
    };
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(codes(0)), codes(1), 1);
    const __m512i u = _mm512_xor_si512(both, _mm512_set1_epi8(-128));
    float scales[4];
    std::memcpy(scales, w, 8);
    std::memcpy(scales + 2, w + kStride, 8);
    const __m512i which = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512 scale =
        _mm512_permutexvar_ps(which, _mm512_castps128_ps512(_mm_set_ps(scales[3], scales[2], scales[1], scales[0])));
    for (int t = 0; t < T; ++t) {
      const __m512i dots = _mm512_dpbusd_epi32(Load512(x[t]->start), u, Load512(x[t]->x));
      acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scale, _mm512_load_ps(x[t]->scale)), acc[t]);
    }
  }
  template <int T>
  static HWY_INLINE void AccumulateRest(const std::byte* w, size_t n, const Packed* const* x, __m512* acc) {
    std::byte group[kBytes] = {};
    std::memcpy(group, w, n);
    Accumulate<T>(group, x, acc);
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif  // HUNCH_AVX512
#endif
