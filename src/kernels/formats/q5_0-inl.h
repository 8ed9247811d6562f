// Q5_0 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q5_0_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q5_0_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q5_0_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q5_0_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q5_0.h"
#include "hwy/highway.h"
#include "kernels/formats/fifth_bits-inl.h"
#include "kernels/formats/pairs-inl.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"
#include "kernels/formats/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q5_0> : Blocks<format::Q5_0, 32> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    ScalesF16(blocks, kBlockBytes, n / 32, out.scale);
    for (size_t b = 0; b < n / 32; ++b, blocks += kBlockBytes)
      UnpackFifth(blocks + offsetof(format::Q5_0::Block, high), blocks + offsetof(format::Q5_0::Block, q), 16,
                  out.q + 32 * b);
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
struct Row<format::Q5_0> : FourBlocks<format::Q5_0, PackedPairs<16>> {
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    __m512i low, high;
    UnpackFifth<kStride>(w + offsetof(format::Q5_0::Block, high),
                         LoadPairs<kStride>(w + offsetof(format::Q5_0::Block, q)), &low, &high);
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
struct RowSum<format::Q5_0> {
  static constexpr int kRows = 8;
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    using Block = format::Q5_0::Block;
    Factors<R, T> f;
    BlockFactors<sizeof(Block)>(w, a, n / 32, f);
    AddBlocks(f, n, nullptr, y, prefetch, [&](int r, size_t b, __m512* value) HWY_ATTR {
      const std::byte* block = w[r] + b * sizeof(Block);
      FifthPairs<16>(block + offsetof(Block, high), block + offsetof(Block, q), value);
    });
  }
};

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
