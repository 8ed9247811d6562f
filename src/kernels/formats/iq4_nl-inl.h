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
struct Row<format::IQ4_NL> : FourBlocks<format::IQ4_NL, PackedPairs<128>> {
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    __m512i low, high;
    LookUpHalves<format::IQ4_NL::Book>(LoadPairs<kStride>(w + offsetof(format::IQ4_NL::Block, q)), 128, &low, &high);
    AddPairs<T>(low, high, HalvesOfFour<kStride>(w), x, acc);
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
