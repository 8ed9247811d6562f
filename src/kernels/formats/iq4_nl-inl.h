// IQ4_NL in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_IQ4_NL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_IQ4_NL_INL_H_
#undef HUNCH_KERNELS_FORMATS_IQ4_NL_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_IQ4_NL_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/iq4_nl.h"
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
struct Simd<format::IQ4_NL> : Blocks<format::IQ4_NL, 32> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    ScalesF16(blocks, kBlockBytes, n / 32, out.scale);
    for (size_t b = 0; b < n / 32; ++b, blocks += kBlockBytes)
      LookUpPairs<format::IQ4_NL::Book>(blocks + offsetof(format::IQ4_NL::Block, q), out.q + 32 * b);
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
struct Row<format::IQ4_NL> {
  using Packed = PackedPairs<128>;
  static constexpr size_t kStride = sizeof(format::IQ4_NL::Block), kBytes = 4 * kStride;
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15), book = BytesOf<format::IQ4_NL::Book>(128);
    const __m512i pairs = LoadPairs<kStride>(w + offsetof(format::IQ4_NL::Block, q));
    const __m512i low = _mm512_shuffle_epi8(book, _mm512_and_si512(pairs, nibble));
    const __m512i high = _mm512_shuffle_epi8(book, _mm512_and_si512(_mm512_srli_epi16(pairs, 4), nibble));
    AddPairs<T>(
        low, high, HalvesOfFour<kStride>(w), [&](int t) -> const Packed& { return *x[t]; }, acc);
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
struct RowSum<format::IQ4_NL> {
  static constexpr int kRows = 8;
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    using Block = format::IQ4_NL::Block;
    const __m512 table = FloatsOf<format::IQ4_NL::Book>();
    Factors<R, T> f;
    BlockFactors<sizeof(Block)>(w, a, n / 32, f);
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
