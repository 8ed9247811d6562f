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
      out.scale[b] = format::MXFP4::half_scale(uint8_t(blocks[0]));
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
struct Row<format::MXFP4> {
  using Packed = PackedPairs<16>;
  static constexpr size_t kStride = sizeof(format::MXFP4::Block), kBytes = 4 * kStride;
  static HWY_INLINE __m512 Scales(const std::byte* w) {
    const auto scale = [&](size_t b) { return format::MXFP4::half_scale(uint8_t(w[b * kStride])); };
    const __m512i which = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return _mm512_permutexvar_ps(which, _mm512_castps128_ps512(_mm_set_ps(scale(3), scale(2), scale(1), scale(0))));
  }
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15), book = BytesOf<format::MXFP4::Book>(16);
    const __m512i pairs = LoadPairs<kStride>(w + offsetof(format::MXFP4::Block, q));
    const __m512i low = _mm512_shuffle_epi8(book, _mm512_and_si512(pairs, nibble));
    const __m512i high = _mm512_shuffle_epi8(book, _mm512_and_si512(_mm512_srli_epi16(pairs, 4), nibble));
    AddPairs<T>(
        low, high, Scales(w), [&](int t) -> const Packed& { return *x[t]; }, acc);
  }
  template <int T>
  static HWY_INLINE void AccumulateRest(const std::byte* w, size_t n, const Packed* const* x, __m512* acc) {
    AccumulateLast<Row, T>(w, n, x, acc);
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
      const float scale = format::MXFP4::half_scale(uint8_t(w[r][b * sizeof(Block)]));
      for (int t = 0; t < T; ++t) f.of[r][t][b] = scale * a[r * T + t];
    }
    for (size_t b = 0; b < n / 32; ++b) {
      prefetch(b);
      AddBlock(f, b, nullptr, y, [&](int r, __m512* value) HWY_ATTR {
        const __m512i pairs = LoadPairs(w[r] + b * sizeof(Block) + offsetof(Block, q));
        value[0] = Nibbles(pairs, table);
        value[1] = Nibbles(_mm512_srli_epi32(pairs, 4), table);
      });
    }
  }
};

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
