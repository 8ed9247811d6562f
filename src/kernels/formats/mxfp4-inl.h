// MXFP4 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_MXFP4_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_MXFP4_INL_H_
#undef HUNCH_KERNELS_FORMATS_MXFP4_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_MXFP4_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/mxfp4.h"
#include "hwy/highway.h"
#include "kernels/formats/code_book-inl.h"
#include "kernels/formats/pairs-inl.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"
#include "kernels/formats/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::MXFP4> : Blocks<format::MXFP4, 32> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    for (size_t b = 0; b < n / 32; ++b, blocks += kBlockBytes) {
      out.scale[b] = half_power(uint8_t(blocks[0]));
      LookUpPairs<format::MXFP4::Book>(blocks + offsetof(format::MXFP4::Block, q), out.q + 32 * b);
    }
    for (size_t b = n / 32; b < 8; ++b) out.scale[b] = 0;
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
struct Row<format::MXFP4> : FourBlocks<format::MXFP4, PackedPairs<16>> {
  static HWY_INLINE __m512 Scales(const std::byte* w) {
    const auto scale = [&](size_t b) { return half_power(uint8_t(w[b * kStride])); };
    const __m512i which = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return _mm512_permutexvar_ps(which, _mm512_castps128_ps512(_mm_set_ps(scale(3), scale(2), scale(1), scale(0))));
  }
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    __m512i low, high;
    LookUpHalves<format::MXFP4::Book>(LoadPairs<kStride>(w + offsetof(format::MXFP4::Block, q)), 16, &low, &high);
    AddPairs<T>(low, high, Scales(w), x, acc);
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace wide {

template <>
struct RowSum<format::MXFP4> {
  static constexpr int kRows = 8;
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    using Block = format::MXFP4::Block;
    const __m512 table = FloatsOf<format::MXFP4::Book>();
    Factors<R, T> f;
    HWY_UNROLL(8) for (int r = 0; r < R; ++r) for (size_t b = 0; b < n / 32; ++b) {
      const float scale = half_power(uint8_t(w[r][b * sizeof(Block)]));
      for (int t = 0; t < T; ++t) f.of[r][t][b] = scale * a[r * T + t];
    }
    AddBlocks(f, n, nullptr, y, prefetch, [&](int r, size_t b, __m512* value) HWY_ATTR {
      NibblePairs(w[r] + b * sizeof(Block) + offsetof(Block, q), table, value);
    });
  }
};

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
